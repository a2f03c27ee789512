"""A question by voice: sound -> words, on this machine."""
