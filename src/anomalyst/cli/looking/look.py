"""`anomalyst look`: attention, feature maps and gradients, as pages and pictures."""

import typer

from anomalyst.cli.looking import attention, features, learning

app = typer.Typer(no_args_is_help=True, help="See what models look at: pages that work offline.")
for command in (
    attention.attention,
    attention.bert,
    features.layers,
    features.kernels,
    features.units,
    features.grad_cam,
    learning.learning,
):
    app.command()(command)
