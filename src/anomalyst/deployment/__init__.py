"""A taught product as a folder that runs without Anomalyst: export, the runner, the check."""
