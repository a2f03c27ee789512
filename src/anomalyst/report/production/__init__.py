"""What a line makes, in figures: yield, control chart, Pareto, where defects fall."""
