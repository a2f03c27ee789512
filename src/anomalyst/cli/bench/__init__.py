"""`anomalyst bench ...`: what things cost and are worth on this machine."""
