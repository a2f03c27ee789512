"""One picture's way through an inspection, and how a product is learnt; behind inspector.py."""
