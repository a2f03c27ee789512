"""Commands of the server: serve, watch, store."""
