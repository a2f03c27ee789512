"""Which network, and why: the same labelled pictures, every network, and a paper of it."""
