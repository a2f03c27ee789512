"""What the server tells of products and inspections: lists, figures, papers."""
