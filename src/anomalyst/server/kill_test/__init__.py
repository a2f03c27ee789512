"""kill -9 at random points of real work, and what the next start makes of what is left."""
