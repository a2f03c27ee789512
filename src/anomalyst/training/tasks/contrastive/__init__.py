"""Contrastive training on what six senses tell of the same drawn part, and its yardstick."""
