"""Learning from what people prefer, and from what the facts verify."""
