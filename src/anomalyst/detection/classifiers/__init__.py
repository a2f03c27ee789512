"""What a region is: its type of defect, and whether a part is missing or too many."""
