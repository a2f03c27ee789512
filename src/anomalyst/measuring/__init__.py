"""Lengths, areas and tolerances: pixels -> millimetres, and what is still acceptable."""
