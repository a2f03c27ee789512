"""Versions of the language model in a workbench's home: which one answers, and the way back.

`language/VERSION/` is a model folder, `language/live.json` names the one that answers. A home
without it answers with the shipped model.
"""

import json
import shutil
import threading
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from anomalyst.errors import AnomalystError
from anomalyst.io.files import folder_written_whole, write_text
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import Conflict
from anomalyst.server.language.proposal import Proposal
from anomalyst.vlm.version import EMBEDDED_LANGUAGE, model_version

FOLDER, LIVE, GATED = "language", "live.json", "gate.json"
State = Literal["live", "before", "aside"]
_CHANGING = threading.RLock()  # what is live is read and written by one at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """Which version answers."""

    live: str
    before: str | None = None  # what one step back leads to
    since: str = ""  # ISO 8601, UTC; empty: from the beginning
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of the language model, and what its gate found."""

    version: str
    state: State  # aside: it was not let in, or it is older than the one before
    shipped: bool
    gate: dict[str, Any] | None = None  # see `proposing.propose`; None: it was never proposed


def read_live(home: Path) -> Live:
    """Which version answers in a home. Raises AnomalystError for a file that cannot be read."""
    path = home / FOLDER / LIVE
    try:
        return Live(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Live(live=model_version(EMBEDDED_LANGUAGE))
    except (OSError, ValueError, TypeError) as error:
        raise AnomalystError(
            f"{path}: cannot be read ({error}); delete it to answer with the shipped model."
        ) from error


def live_folder(home: Path) -> Path:
    """The model folder that answers. Raises AnomalystError if it is gone."""
    return version_folder(home, read_live(home).live)


def version_folder(home: Path, version: str) -> Path:
    """Where a version lies. Raises AnomalystError if it is gone."""
    kept = home / FOLDER / version
    if (kept / "config.json").exists():
        return kept
    if version == model_version(EMBEDDED_LANGUAGE):
        return EMBEDDED_LANGUAGE
    raise AnomalystError(
        f"{kept}: this version of the language model is gone; propose another one, or delete "
        f"{home / FOLDER / LIVE} for the shipped one."
    )


def keep_version(home: Path, folder: Path) -> str:
    """Copy a model folder into the home, whole or not at all; returns its version."""
    version = model_version(folder)
    target = home / FOLDER / version
    if not (target / "config.json").exists():
        with folder_written_whole(target) as part:
            shutil.copytree(folder, part, dirs_exist_ok=True)
            if model_version(part) != version:
                raise AnomalystError(f"{folder}: changed while it was copied; propose it again.")
    return version


def go_live(home: Path, version: str, by: str, *, seen: str | None = None) -> Live:
    """From now on this version answers; the one that did is one step back.

    Raises Conflict if `seen`, which was live when it was decided, no longer is.
    """
    version_folder(home, version)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with _CHANGING:
        before = read_live(home).live
        if seen not in (None, before):
            raise Conflict(f"{seen} is no longer live, {before} is; look again, and decide anew.")
        live = Live(live=version, before=before, since=now, by=by)
        write_text(home / FOLDER / LIVE, json.dumps(asdict(live), indent=1))
    return live


def go_back(home: Path, by: str, *, seen: str | None = None) -> Live:
    """The version before answers again; once more, and the newer one does.

    Raises Conflict if there is none before, or if `seen` is given and no longer live.
    """
    with _CHANGING:
        live = read_live(home)
        if live.before is None:
            raise Conflict(
                "no other language model was live before, so there is none to go back to."
            )
        return go_live(home, live.before, by, seen=seen)


def list_versions(home: Path) -> list[Version]:
    """Every version of a home, the live one first, then the last proposed."""
    live = read_live(home)
    kept = [path.parent.name for path in (home / FOLDER).glob("[!.]*/config.json")]
    shipped = model_version(EMBEDDED_LANGUAGE)
    found = []
    for name in dict.fromkeys([live.live, *kept, *([live.before] if live.before else [])]):
        state: State = "live" if name == live.live else "before" if name == live.before else "aside"
        gate = read_gated(home, name)
        found.append(Version(version=name, state=state, shipped=name == shipped, gate=gate))
    found.sort(key=lambda one: (one.gate or {}).get("proposed", ""), reverse=True)
    return sorted(found, key=lambda one: one.state != "live")


def last_gate(gates: Iterable[dict[str, Any] | None]) -> dict[str, Any] | None:
    """Of what the gate found of versions, that of the one proposed last; None: none was."""
    return max((one for one in gates if one), key=lambda gate: gate["proposed"], default=None)


def models_of(config: ServingConfig) -> dict[str, Any]:
    """What answers in a home, and all its versions, as plain JSON values.

    `given`: the folder that `serve --language` gave; it answers, whatever is live.
    """
    given = str(config.language) if config.language else None
    versions = [asdict(one) for one in list_versions(config.home)]
    return asdict(read_live(config.home)) | {"given": given, "versions": versions}


def read_gated(home: Path, version: str) -> dict[str, Any] | None:
    """What the gate found of a version; None if it was never proposed, or that cannot be read."""
    try:
        found = json.loads((home / FOLDER / version / GATED).read_text(encoding="utf-8"))
        return Proposal.from_dict(found).as_dict()
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
