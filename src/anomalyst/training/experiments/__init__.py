"""Runs compared, searched, cross-validated."""
