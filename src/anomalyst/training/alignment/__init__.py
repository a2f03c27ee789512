"""Learning from what people prefer: objectives, sampling, and the stages one after the other."""
