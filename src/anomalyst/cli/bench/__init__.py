"""`anomalyst bench ...`: what things cost and are worth on this machine."""

from anomalyst.cli.bench import voice

__all__ = ["voice"]
