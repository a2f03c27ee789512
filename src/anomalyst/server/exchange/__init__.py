"""What people draw, to labelling tools and back."""
