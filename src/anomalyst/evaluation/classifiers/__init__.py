"""How well a classifier of pictures does, how sure of it we are, and what it costs to run."""
