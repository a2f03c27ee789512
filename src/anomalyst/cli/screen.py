"""What the terminal shows: progress on stderr, results on stdout."""

import getpass
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@dataclass(frozen=True, slots=True)
class Bar:
    """A progress bar with one task."""

    progress: "Progress"
    task: "TaskID"

    def advance(self, *_: object) -> None:
        """One more is done, whatever it is."""
        self.progress.advance(self.task)

    def show(self, done: int, total: int | None = None) -> None:
        """So many are done; of so many, if that changed."""
        self.progress.update(self.task, completed=done, total=total)

    def describe(self, description: str) -> None:
        """What is being done now."""
        self.progress.update(self.task, description=description)

    def tell(self, description: str, done: int, total: int) -> None:
        """What is being done now, how many of all are done, of how many."""
        self.progress.update(self.task, description=description, completed=done, total=total)


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Bar]:
    """A progress bar on stderr; silent unless stderr is a terminal."""
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with bars.Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        yield Bar(bar, bar.add_task(description, total=total))


def print_table(
    title: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    last: Sequence[str] | None = None,
) -> None:
    """Words in the first column, figures in the others; `last`: a row below a rule."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), box=box.SIMPLE)
    table.add_column(heads[0], overflow="fold")
    for head in heads[1:]:
        table.add_column(head, justify="right", no_wrap=True)
    for first, *figures in rows:
        table.add_row(escape(first), *figures)
    if last is not None:
        table.add_section()
        table.add_row(*last)
    Console().print(table)


def needs(extra: str, *modules: str) -> None:
    """Raises AnomalystError that names the extra to install, if one of its modules is missing."""
    from importlib.util import find_spec

    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise AnomalystError(_install(", ".join(missing), extra))


def told_missing(error: ModuleNotFoundError) -> str | None:
    """What to install for a module that a command imported; None for one of no extra of ours.

    For commands that import before they ask `needs`.
    """
    from importlib.metadata import requires

    module = (error.name or "").partition(".")[0]
    for line in requires("anomalyst") or ():
        found = re.match(r"([\w.-]+).*extra == ['\"]([\w-]+)['\"]", line)
        if found and found[2] != "dev" and found[1].lower().replace("-", "_") == module.lower():
            return _install(module, found[2])
    return None


def _install(modules: str, extra: str) -> str:
    return f"this needs {modules}; install it with `pip install 'anomalyst[{extra}]'`."


def say(text: str) -> None:
    """A message that is not a result: stderr."""
    typer.echo(text, err=True)


def pictures_in(paths: Sequence[Path], *, below: bool = True) -> list[Path]:
    """Files as they are, folders as the pictures in them and, with `below`, in theirs.

    Without `below` subfolders are not guessed to be meant: they may hold defective parts. Raises
    AnomalystError for a folder without pictures, which says where some lie; a missing file is left
    for its own error.
    """
    from anomalyst.io.pictures import PICTURE_SUFFIXES

    return files_in(
        paths, PICTURE_SUFFIXES, "picture", "PNG, JPEG, BMP, TIFF or WebP files", below=below
    )


def files_in(
    paths: Sequence[Path], suffixes: frozenset[str], what: str, needed: str, *, below: bool
) -> list[Path]:
    """The same of files with these endings."""
    from anomalyst.io.listing import list_below, list_files

    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        own = [] if below else list_files(path, suffixes)
        if not own:
            inside = list_below(path, suffixes)
            own = [file for files in inside.values() for file in files] if below else []
            if not own:
                raise AnomalystError(_none_in(path, inside, what, needed))
        found += own
    return found


def _none_in(path: Path, inside: Mapping[Path, Sequence[Path]], what: str, needed: str) -> str:
    if not inside:
        return f"{path}: holds no {what}; {needed} are needed."
    places = [f"{one} ({len(files)})" for one, files in list(inside.items())[:5]]
    more = f" and {len(inside) - 5} more" if len(inside) > 5 else ""
    return (
        f"{path}: holds no {what} itself; below it are {', '.join(places)}{more}. Name the folders "
        "that are meant."
    )


def user_name() -> str:
    """Who types the command; a container may run under a number without a name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
