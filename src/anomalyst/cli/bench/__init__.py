"""`anomalyst bench ...`: what things cost and are worth on this machine."""

from anomalyst.cli.bench import inspection, series

inspection.app.command()(series.series)
