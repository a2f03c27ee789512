"""`anomalyst align` from a workbench's record to the model that answers."""

import json
import sys
from pathlib import Path

import pytest

from anomalyst.cli.main import main
from anomalyst.server.corrections import Corrections
from anomalyst.server.language.versions import list_versions
from anomalyst.vlm.preferences import read_rankings
from serving import DEFECT, GOOD, service_over, teach_flange

ROOT = Path(__file__).parents[1]
SHORT = ("sft.steps=2", "sft.batch=2", "sft.episodes=8", "sft.validate_every=0",
         "sft.watch.probe_every=0")  # fmt: skip


def run(monkeypatch, *words: object) -> int:
    """The exit status of a command by the real entry point."""
    monkeypatch.setattr(sys, "argv", ["anomalyst", *map(str, words)])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_what_cannot_be_aligned_is_told(refused, tmp_path):
    recipes = ("--recipes", ROOT / "recipes")
    assert "there is no such workbench" in refused("align", tmp_path / "nothing", *recipes)
    assert "holds no anomalyst.db" in refused("align", tmp_path, *recipes)
    broken = tmp_path / "rankings.jsonl"
    broken.write_text('{"form": 7}\n')
    assert "was written in form 7, this version reads 1" in refused("align", broken, *recipes)
    broken.write_text("no JSON\n")
    assert "line 1: is no ranking" in refused("align", broken, *recipes)
    assert "write STAGE.key=value" in refused("align", "steps=3", *recipes)
    assert "the nearest is 'steps'" in refused("align", "ppo.step=3", *recipes)
    assert "--method dpo needs 40 pairs" in refused("align", "--method", "dpo", *recipes)


@pytest.mark.slow
def test_from_corrections_to_the_gate(tmp_path, monkeypatch, capsys):
    home, out = tmp_path / "home", tmp_path / "align"
    with service_over(home) as service:
        teach_flange(service)
        sent = [service.take_file(path) for path in (DEFECT, GOOD)]
        ids = service.acknowledge(sent, "flange", by="ann", source="api")
        corrections = Corrections(service)
        for id, better in zip(ids, ("Yes, look at it: <region 1>.", "It is sound."), strict=True):
            service.wait(id)
            turn = service.ask(id, "Where is it?", by="ann")
            corrections.reword(id, turn.id, better, by="ann")
    words = ("align", home, *SHORT, "--recipes", ROOT / "recipes", "--out", out)
    status = run(monkeypatch, *words)
    printed = capsys.readouterr()
    assert status in (0, 1), printed.err
    rows = read_rankings(out / "data" / "rankings.jsonl")
    assert len(rows) == 2 and all((out / "data" / row.shown).is_file() for row in rows)
    assert "this is SFT alone" in printed.err and "pairs of answers where 40" in printed.err
    figures = json.loads((out / "align.json").read_text())
    assert [one["name"] for one in figures["models"]] == ["before", "sft"]
    states = {one.state for one in list_versions(home)}
    assert "live" in states and ("before" in states or "aside" in states)
    # Once more: nothing is trained again, and what is live already cannot be proposed again.
    again = run(monkeypatch, *words)
    assert "sft: done before." in capsys.readouterr().err
    assert again in (1, 2)
