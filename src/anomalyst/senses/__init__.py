"""What is not a photograph: sound, series, depth and heat, from file to tensor."""
