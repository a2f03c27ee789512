"""A new language model goes live only if it is no worse on the gate; else it is kept aside."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from anomalyst.errors import AnomalystError
from anomalyst.evaluation.gate.figures import GateFigures, compare
from anomalyst.evaluation.gate.items import GateItem, fingerprint, read_gate
from anomalyst.evaluation.gate.judging import judge_model, judge_shown
from anomalyst.io.files import write_text
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import Conflict
from anomalyst.server.language.proposal import Proposal
from anomalyst.server.language.recorded import recorded_items
from anomalyst.server.language.versions import (
    FOLDER,
    GATED,
    go_live,
    keep_version,
    last_gate,
    list_versions,
    live_folder,
    read_live,
    version_folder,
)
from anomalyst.server.storage.store import Store
from anomalyst.vlm.generation import Speaker
from anomalyst.vlm.huggingface.loading import check_vision
from anomalyst.vlm.version import model_version

GATE = "gate"  # folder of the home: the frozen dialogues
PROPOSED = "embedded"  # the encoder that drew the gate
Told = Callable[[int, int], None]


def propose(config: ServingConfig, folder: Path, by: str, told: Told = lambda *_: None) -> Proposal:
    """Judge a model folder beside the live one, and let it go live if it is no worse.

    The folder is copied into the home, live or aside, with what the gate found in `gate.json`.
    Raises AnomalystError for a folder that is no model for the embedded encoder, Conflict for the
    model that is live already, or where another one went live meanwhile.
    """
    home, source = config.home, model_in(folder)
    version = model_version(source)
    if version == read_live(home).live:
        raise Conflict(f"{folder}: is version {version}, which is live already.")
    new = checked_model(folder)
    dialogues = _frozen_items(home, new, folder)
    recorded, left_out = recorded_items(Store.open(config), new)
    items = dialogues + recorded
    live_version = keep_version(home, live_folder(home))
    keep_version(home, source)
    live, judged = _judged(Speaker.load(version_folder(home, live_version)), new, items, told)
    before = last_gate(one.gate for one in list_versions(home)) or {}
    proposal = Proposal(
        version=version,
        live=live,
        live_version=live_version,
        new=judged,
        decision=compare(live, judged),
        fingerprint=fingerprint(items),
        dialogues=len(dialogues),
        recorded=len(recorded),
        left_out=left_out,
        proposed=datetime.now(UTC).isoformat(timespec="seconds"),
        by=by,
        frozen=fingerprint(dialogues),
        frozen_before=before.get("frozen", ""),
    )
    if proposal.decision.passes:  # before it is noted: what is noted as let in is live
        go_live(home, version, by, seen=live_version)
    write_text(home / FOLDER / version / GATED, json.dumps(proposal.as_dict(), indent=1))
    return proposal


def _frozen_items(home: Path, new: Speaker, folder: Path) -> list[GateItem]:
    """The held-out dialogues. Raises AnomalystError for a model of another encoder."""
    dialogues = read_gate(home / GATE)
    width = dialogues[0].tensors()["image_embedding"].shape[1]
    if new.model.config.embedding_width != width:
        raise AnomalystError(
            f"{folder}: was trained with the encoder {new.model.config.vision!r}, the gate is of "
            f"the {PROPOSED} one; use it with `anomalyst serve --language {folder}`."
        )
    return dialogues


def _judged(
    live: Speaker, new: Speaker, items: list[GateItem], told: Told
) -> tuple[GateFigures, GateFigures]:
    """The figures of both; what would be shown only of a model that may go live."""
    done, total = 0, 3 * len(items)

    def one_more() -> None:
        nonlocal done
        done += 1
        told(done, total)

    ours, theirs = judge_model(new, items, one_more), judge_model(live, items, one_more)
    if compare(theirs, ours).passes:
        ours = judge_shown(ours, new, items, one_more)
    return theirs, ours


def checked_model(folder: Path) -> Speaker:
    """The speaker of a model folder, or of a run's. Raises AnomalystError if it cannot be used."""
    speaker = Speaker.load(model_in(folder))
    check_vision(speaker.model, PROPOSED)
    return speaker


def model_in(folder: Path) -> Path:
    """The model of a folder: itself, or `model` in a run's folder."""
    inside = folder / "model"
    return inside if (inside / "config.json").exists() else folder
