"""One module per layout: `matches(root)`, `read(root)`, `masks(root)` and `LOOKS_FOR`."""
