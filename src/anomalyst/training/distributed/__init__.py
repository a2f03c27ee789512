"""Processes: ranks, launching, all-reduce."""
