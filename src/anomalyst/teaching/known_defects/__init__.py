"""Known defects: what a few defective pictures set for a product."""
