"""Recordings -> how surprising each sample of each channel is: one small file a method."""
