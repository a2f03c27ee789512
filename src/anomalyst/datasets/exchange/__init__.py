"""What is drawn on pictures, in the formats that labelling tools read and write."""
