"""`anomalyst evaluate|mmad`."""
