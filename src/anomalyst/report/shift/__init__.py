"""A shift of the record as one page: figures, charts, and a summary whose numbers are checked."""
