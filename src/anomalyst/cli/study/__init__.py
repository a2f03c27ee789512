"""`anomalyst study ...`: the studies that this project began with, repeated."""
