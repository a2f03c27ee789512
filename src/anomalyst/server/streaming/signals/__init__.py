"""Reject signals of a line: where they go, how long they last, and their deadline."""
