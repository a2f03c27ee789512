"""`anomalyst look`: what models look at."""
