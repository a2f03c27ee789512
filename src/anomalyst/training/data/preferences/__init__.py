"""Answers that are right in different ways, and inspectors whose taste is known."""
