"""Pictures and files: opened, placed, tiled, coloured, written whole."""
