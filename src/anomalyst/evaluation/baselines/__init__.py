"""Published methods on the same features, and the comparison with them."""
