"""The record of every inspection: database, pictures, retention."""
