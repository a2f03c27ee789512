"""Which runs a data set asks for, and how they are counted."""
