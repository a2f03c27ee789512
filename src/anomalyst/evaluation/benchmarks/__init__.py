"""How fast, how alike on every engine, what corrections and words are worth."""
