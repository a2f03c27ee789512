"""Methods for recordings beside published ones: drawn signals, SKAB, NAB."""
