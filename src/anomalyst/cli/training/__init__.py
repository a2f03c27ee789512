"""`anomalyst train|search|crossval|compare`."""
