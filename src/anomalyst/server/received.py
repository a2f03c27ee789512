"""What people send: one file, a part by several senses, many parts; kept before it is used."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from anomalyst.errors import AnomalystError
from anomalyst.inspection.parts import paired
from anomalyst.server.storage.pictures import Pictures

Sent = tuple[IO[bytes], str | None]  # a file, and what its sender calls it


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedPicture:
    """A picture, or a file of another sense, that was taken in, and what its sender calls it."""

    picture: str
    name: str
    sense: str = "image"
    beside: "Mapping[str, ReceivedPicture]" = field(default_factory=dict)  # of the same part

    @property
    def files(self) -> "dict[str, ReceivedPicture]":
        """The part's files by their senses, the leading one first."""
        return {self.sense: self, **self.beside}


def take(
    pictures: Pictures, stream: IO[bytes], name: str | None, sense: str = "image"
) -> ReceivedPicture:
    """Keep a picture, or a file of another sense. Raises PictureError if it is none."""
    shown = shown_name(name)
    kept = pictures.take(stream, shown, sense)
    return ReceivedPicture(picture=kept, name=shown, sense=sense)


def take_part(pictures: Pictures, files: Mapping[str, Sent]) -> ReceivedPicture:
    """Keep the files of one part, sense -> file; the first sense leads."""
    lead, *others = (take(pictures, *one, sense) for sense, one in files.items())
    return replace(lead, beside={one.sense: one for one in others})


def take_parts(pictures: Pictures, files: Mapping[str, Sequence[Sent]]) -> list[ReceivedPicture]:
    """Keep the files of several parts, sense -> files; those of one part have one name.

    Raises AnomalystError where a part lacks a sense, or two files of a sense have one name.
    """
    if len(files) < 2:  # each is a part, whatever it is called
        return [take(pictures, *one, sense) for sense, own in files.items() for one in own]
    called: dict[str, dict[Path, Sent]] = {}
    for sense, own in files.items():
        for one in own:
            name = Path(shown_name(one[1]))
            if name in called.setdefault(sense, {}):
                raise AnomalystError(
                    f"{name}: two {sense} files have this name; give each part its own."
                )
            called[sense][name] = one
    parts = paired({sense: list(own) for sense, own in called.items()})
    return [take_part(pictures, {s: called[s][name] for s, name in part.items()}) for part in parts]


def take_paths(
    pictures: Pictures, parts: Sequence[Mapping[str, Path]]
) -> Iterator[ReceivedPicture | str]:
    """The same with files of this machine; of a part that cannot be taken, why."""
    for part in parts:
        try:
            with ExitStack() as stack:
                opened = {
                    sense: (stack.enter_context(path.open("rb")), path.name)
                    for sense, path in part.items()
                }
                yield take_part(pictures, opened)
        except (AnomalystError, OSError) as error:
            yield str(error)


def shown_name(name: str | None) -> str:
    """What a sender calls a picture: its last part, in letters that can be shown."""
    last = (name or "picture").replace("\\", "/").rstrip("/").rpartition("/")[2]
    clean = "".join(c for c in last if c.isprintable()).strip()
    return clean.encode("utf-8", "replace").decode()[:200] or "picture"
