"""Building blocks by name, measured: activations, optimizers, the language model's blocks."""
