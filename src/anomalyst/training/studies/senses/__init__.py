"""Six senses in one space: what contrastive training on drawn parts brings."""
