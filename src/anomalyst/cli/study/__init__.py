"""`anomalyst study ...`: questions of the field, each answered by one table."""
