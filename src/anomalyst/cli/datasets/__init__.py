"""`anomalyst data ...`: sets looked after and made."""
