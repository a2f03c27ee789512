"""`anomalyst store models|propose|back`: versions of the language model in a workbench's home."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, print_table, progress, say, user_name

if TYPE_CHECKING:
    from anomalyst.server.language.proposal import Proposal


@opt.grouped
def models(record: opt.Record) -> None:
    """List the versions of the language model: which answers, and what the gate found.

    Example: anomalyst store models
    """
    needs("serve", "sqlalchemy")
    from anomalyst.server.language.versions import list_versions, read_live

    live = read_live(record.home)
    for one in list_versions(record.home):
        gate = one.gate or {}
        since = live.since if one.state == "live" else gate.get("proposed", "")
        about = f"{'shipped ' if one.shipped else ''}{since}".strip()
        typer.echo(f"{one.version}  {one.state:<7} {about}")
        for row, counted in gate.get("new", {}).get("rows", {}).items():
            asked = counted["right"] + counted["wrong"]
            typer.echo(f"    {row:<15} {counted['right']} of {asked} right")
        if gate:
            typer.echo(f"    contradictions  {gate['new']['contradictions']} in its own words")
        for reason in gate.get("reasons", ()):
            typer.echo(f"    kept aside: {reason}")


@opt.grouped
def propose(
    folder: Annotated[Path, Argument(metavar="DIR", help="A model's folder, or its run's.")],
    record: opt.Record,
) -> None:
    """Judge a language model beside the live one; it goes live if it is no worse.

    The gate: held-out dialogues, drawn once and frozen in the home, and the questions of the last
    30 days. Ends with 1 if the model is kept aside.

    Example: anomalyst store propose runs/align
    """
    found = propose_model(record.home, folder, user_name(), database=record.database)
    show_proposal(found)
    if not found.decision.passes:
        raise typer.Exit(1)


@opt.grouped
def back(record: opt.Record) -> None:
    """Answer with the model before, from the next question on; once more, with the newer one.

    Example: anomalyst store back
    """
    needs("serve", "sqlalchemy")
    from anomalyst.server.language.versions import go_back

    live = go_back(record.home, user_name())
    typer.echo(f"{live.live} is live; {live.before} is one step back.")


def propose_model(home: Path, folder: Path, by: str, *, database: str | None = None) -> "Proposal":
    """Judge a model folder on a home's gate, which is drawn if it is not there yet.

    The folder is copied into the home, and answers from then on or is kept aside with the reasons:
    see `Proposal.decision`. Raises AnomalystError for a folder that cannot be used.
    """
    needs("serve", "sqlalchemy")
    from anomalyst.server.config import ServingConfig
    from anomalyst.server.language.proposing import GATE, checked_model, propose
    from anomalyst.training.alignment.gate_dialogues import draw_gate

    checked_model(folder)
    if not (home / GATE).exists():
        say(f"The gate is drawn, once; it stays in {home / GATE}.")
        draw_gate(home / GATE)
    with progress("Judging") as bar:
        return propose(ServingConfig(home=home, database=database), folder, by, bar.show)


def show_proposal(found: "Proposal") -> None:
    """The figures of both models, and what was decided."""
    from anomalyst.server.language.proposal import gate_table

    held_out = f"{found.dialogues} held-out questions (frozen as {found.frozen})"
    asked = f"{held_out}, {found.recorded} of the last 30 days"
    left_out = f" ({found.left_out} that somebody judged left out)"
    typer.echo(f"Gate {found.fingerprint}: {asked}{left_out if found.left_out else ''}.")
    if found.note:
        typer.echo(found.note)
    print_table("", ("", f"{found.live_version} (live)", found.version), gate_table(found))
    for reason in found.decision.reasons:
        typer.echo(reason)
    what = "is live" if found.decision.passes else f"is kept aside; {found.live_version} stays live"
    typer.echo(f"{found.version} {what}.")
