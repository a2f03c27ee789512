"""kill -9 at random points of real work, and what the next start makes of what is left."""

ACTS = ("teach", "inspect", "correct", "backup", "migrate")  # what is killed, by its name
