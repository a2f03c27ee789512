"""Recordings beside good ones: how surprising each moment of each channel is."""
