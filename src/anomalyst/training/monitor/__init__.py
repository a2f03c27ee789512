"""What watches a run: figures, resources, profiles, and when to stop it."""
