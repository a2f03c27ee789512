"""What models look at: attention, feature maps and gradients, recorded and drawn."""
