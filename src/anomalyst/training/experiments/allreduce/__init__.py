"""All-reduce: algorithms with counted messages, measured and drawn."""
