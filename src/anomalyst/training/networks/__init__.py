"""Networks that are trained with labels, in any size: picture -> logits."""
