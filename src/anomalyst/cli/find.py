"""`anomalyst find`: inspections and files that resemble a sentence, a picture, a sound, ..."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, print_table, progress, say
from anomalyst.cli.senses import ManyFiles
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.server.finding.items import Item, LeftOut, Readings
    from anomalyst.server.finding.search import Found, Kept, Query
    from anomalyst.server.finding.texts import TextSpace
    from anomalyst.server.storage.filters import Filter
    from anomalyst.server.storage.store import Store


class ManyPlaces(ManyFiles):
    """`--among` takes all places that follow."""

    many = ("--among",)


def _file(help_: str) -> Any:
    return Option(metavar="FILE", help=help_, show_default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is looked for: exactly one of these."""

    text: Annotated[str | None, Option(metavar="WORDS", help="A sentence.")] = None
    image: Annotated[Path | None, _file("A photograph.")] = None
    depth: Annotated[Path | None, _file("Depth: 16-bit PNG or TIFF, .npy.")] = None
    thermal: Annotated[Path | None, _file("Heat: 16-bit PNG or TIFF, .npy.")] = None
    audio: Annotated[Path | None, _file("Sound: WAV, FLAC, Ogg, MP3.")] = None
    series: Annotated[Path | None, _file("Sensors over time: CSV, Parquet, .npy.")] = None
    video: Annotated[Path | None, _file("A film: MP4, AVI, MOV, MKV, WebM.")] = None

    def query(self, readings: "Readings") -> "Query":
        """The one that was given. Raises AnomalystError for none or several."""
        from anomalyst.senses.space import SensedFile
        from anomalyst.server.finding.search import Query

        given = [(one.name, getattr(self, one.name)) for one in fields(self)]
        given = [(name, value) for name, value in given if value is not None]
        if len(given) != 1:
            known = ", ".join(f"--{one.name}" for one in fields(self))
            what = " and ".join(f"--{name}" for name, _ in given) or "nothing"
            raise AnomalystError(f"{what} was given to look for; give exactly one of {known}.")
        [(sense, value)] = given
        if sense == "text":
            if not value.strip():
                raise AnomalystError("--text: is empty; write a sentence.")
            return Query(what=value, name=value)
        file = SensedFile(sense=sense, path=value, reading=readings.of(sense))
        return Query(what=file, name=str(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Among:
    """What is looked through."""

    home: opt.Home = Path("workbench")
    products: opt.Products = Path("products")
    database: opt.Database = None
    among: Annotated[
        list[Path] | None,
        Option(
            metavar="DIR...",
            help="Look through these folders or files instead of the record.",
        ),
    ] = None
    product: Annotated[str | None, Option(metavar="NAME", help="Only inspections of it.")] = None
    since: Annotated[datetime | None, Option(help="Only inspections from then on.")] = None
    sense: Annotated[
        str | None,
        Option(metavar="image|depth|thermal|audio|series|video", help="Only what is of it."),
    ] = None

    def items(self, readings: "Readings", left_out: "LeftOut") -> "tuple[list[Item], Kept]":
        """What may be found, and where its vectors are kept."""
        from anomalyst.server.finding.folders import folder_items
        from anomalyst.server.finding.items import of_sense
        from anomalyst.server.finding.search import Kept

        folder = self.home / "embeddings"
        if self.among:
            if self.product or self.since:
                raise AnomalystError(
                    "--among looks through files, which have no --product and no --since; leave "
                    "these out."
                )
            found = of_sense(folder_items(self.among, readings, left_out), self.sense)
            return found, Kept(folder=folder, name="among")
        found = of_sense(self._inspections(left_out), self.sense)
        whole = not (self.product or self.since or self.sense)
        return found, Kept(folder=folder, name="record", whole=whole)

    def told(self, query: "Query") -> "tuple[list[Item], Kept]":
        """Inspections as words. Raises AnomalystError for files, which have none."""
        from anomalyst.server.finding.items import of_sense
        from anomalyst.server.finding.search import Kept
        from anomalyst.server.finding.texts import told_items

        if self.among or query.sense != "text":
            raise AnomalystError(
                "--encoder texts:DIR compares a sentence with the record's words; give --text, and "
                "no --among."
            )
        store, wanted = self._record()
        found = of_sense(told_items(store, wanted), self.sense)
        store.engine.dispose()
        whole = not (self.product or self.since or self.sense)
        return found, Kept(folder=self.home / "embeddings", name="texts", whole=whole)

    def _inspections(self, left_out: "LeftOut") -> "list[Item]":
        from anomalyst.server.finding.record import record_items

        store, wanted = self._record()
        found = record_items(store, wanted, self.products, left_out)
        store.engine.dispose()
        return found

    def _record(self) -> "tuple[Store, Filter]":
        """The record, and which of its inspections."""
        needs("serve", "sqlalchemy")
        from anomalyst.server.config import ServingConfig
        from anomalyst.server.finding.record import open_record
        from anomalyst.server.storage.filters import Filter

        config = ServingConfig(home=self.home, products=self.products, database=self.database)
        return open_record(config), Filter(product=self.product, since=self.since, state="done")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How files without a product are read."""

    depth_unit: Annotated[str, Option(metavar="mm|um|m", help="Of depth files.")] = "mm"
    thermal_unit: Annotated[
        str,
        Option(
            metavar="C|K|cK", help="Of heat files; cK: hundredths of a kelvin.", show_default=False
        ),
    ] = ""
    rate: Annotated[
        float | None,
        Option(metavar="HZ", help="Samples a second, where a table has no column of times."),
    ] = None


@opt.grouped
def find(
    *,
    asked: Asked,
    among: Among,
    encoder: Annotated[
        str,
        Option(
            metavar="drawn|imagebind:DIR|clip:DIR|texts:DIR",
            help="The space: the shipped towers, an ImageBind, CLIP or SigLIP (text, image); "
            "texts: the record's words by a text model (texts:run:DIR).",
        ),
    ] = "drawn",
    top: Annotated[int, Option(min=1, metavar="N", help="How many to show.")] = 10,
    reading: Reading,
    out: Annotated[
        Path | None, Option(metavar="DIR", help="Write find.html: query and hits side by side.")
    ] = None,
    json_: opt.JsonObject = False,
) -> None:
    """Find inspections that resemble a sentence, a picture, a sound or another file most.

    Searching within one sense (--audio for what sounded alike, --image for what looks alike) is the
    reliable use. Across senses the shipped towers bind what a picture shows, the kind of part, and
    not its condition: they know drawn parts only, and of kinds that were never drawn most pairs of
    senses are near chance (docs/research/senses.md). A sensor's table must be one of vibration: six
    channels, acceleration and rotation, 5 s or more.

    The first search encodes the record, later ones what is new (kept in HOME/embeddings).

    With --encoder texts:run:DIR a sentence is compared with what the record says in words: verdict,
    kinds, places, sizes, colours, people's comments (docs/texts.md).

    Example: anomalyst find --text "dent at the top left" --encoder texts:run:runs/bert
    Example: anomalyst find --audio new/p07.wav --sense audio
    Example: anomalyst find --text "a metal disc" --product disc --out found
    Example: anomalyst find --image part.png --among archive/ --encoder clip:models/clip-vit-b32
    """
    from anomalyst.backbones.spaces import open_space
    from anomalyst.server.finding.items import LeftOut, Readings
    from anomalyst.server.finding.search import search

    readings = Readings(**{one.name: getattr(reading, one.name) for one in fields(reading)})
    query, left_out = asked.query(readings), LeftOut()
    by_words = encoder.startswith("texts:")
    if by_words:
        items, kept = among.told(query)
    else:
        items, kept = among.items(readings, left_out)
    if not items:
        raise AnomalystError(_nothing(among, left_out.notes()))
    with progress("Encoding") as bar:
        space = _text_space(encoder) if by_words else open_space(encoder)
        found = search(query, items, space, kept, top=top, left_out=left_out, told=bar.show)
    if out is not None:
        from anomalyst.server.finding.page import write_page

        say(f"Page: {write_page(out, found)}")
    if json_:
        typer.echo(json.dumps(found.as_dict()))
    else:
        _show(found)


def _text_space(encoder: str) -> "TextSpace":
    """The space of a text model that may search. Raises AnomalystError for one that cannot."""
    from anomalyst.server.finding.texts import TextSpace
    from anomalyst.vlm.texts.loading import load_text_model

    return TextSpace(load_text_model(encoder.removeprefix("texts:")))


def _nothing(among: Among, notes: Sequence[str]) -> str:
    """Why there is nothing to look through."""
    where = " ".join(map(str, among.among)) if among.among else f"the record in {among.home}"
    asked = {"--product": among.product, "--since": among.since, "--sense": among.sense}
    only = " ".join(f"{name} {value}" for name, value in asked.items() if value is not None)
    reasons = "".join(f" {note}" for note in notes)
    return f"{where}: holds nothing that could be found{f' with {only}' if only else ''}.{reasons}"


def _show(found: "Found") -> None:
    """The hits as a table on stdout, notes on stderr."""
    rows = []
    for hit in found.hits:
        item = hit.item
        when = item.created_at.strftime("%Y-%m-%d %H:%M") if item.created_at else ""
        rows.append((item.name, f"{hit.similarity:.3f}", item.file.sense, item.product or "",
                     item.verdict or "", when))  # fmt: skip
    heads = ("file", "similarity", "sense", "product", "verdict", "when (UTC)")
    used = [i for i in range(len(heads)) if any(row[i] for row in rows)]
    print_table(
        f"{found.query.name}: {found.searched} files compared, {found.encoded} of them new",
        [heads[i] for i in used],
        [[row[i] for i in used] for row in rows],
    )
    if found.typical:
        usual = ", ".join(f"{sense} {value:.3f}" for sense, value in found.typical.items())
        say(f"Typical similarity (median): {usual}.")
    for note in found.notes:
        say(f"Note: {note}")
