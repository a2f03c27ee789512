"""The predecessor's studies, repeated: its tables with our figures beside the published ones."""
