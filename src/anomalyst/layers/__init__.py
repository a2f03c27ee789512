"""Building blocks by name: activations, norms, positions, sizes, attention, networks of layers."""
