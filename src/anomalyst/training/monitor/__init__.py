"""What watches a run: figures, resources, profiles, hopeless runs."""
