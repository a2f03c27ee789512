"""What a run needs on machines that are not here: memory a GPU by part, seconds a step, engines."""
