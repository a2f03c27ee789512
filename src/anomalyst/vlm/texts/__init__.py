"""Text models by path, BERT, GPT-2, BART and their like: search, answers, summaries."""
