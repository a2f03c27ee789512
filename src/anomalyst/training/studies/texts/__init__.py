"""BERT, GPT-2 and BART on the same inspection texts: loops, and the same tasks."""
