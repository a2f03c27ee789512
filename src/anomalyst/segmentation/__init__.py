"""Prompts (clicks, boxes, masks, words) -> the crisp mask of one thing."""
