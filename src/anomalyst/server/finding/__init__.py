"""Inspections and files that resemble a query, across senses."""
