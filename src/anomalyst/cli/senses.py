"""Files of other senses on the command line: sound, sensors, depth and heat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from typer import Option
from typer.core import TyperCommand

from anomalyst.cli import options as opt
from anomalyst.cli.screen import files_in, pictures_in

if TYPE_CHECKING:
    from anomalyst.inspection.file_reading import FileReading


def _files(help_: str) -> Any:
    return Option(metavar="FILE...", help=help_, show_default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SenseFiles:
    """Files that are no photographs, or folders of them. Photographs come before them."""

    depth: Annotated[list[Path] | None, _files("Depth: 16-bit PNG or TIFF, .npy.")] = None
    thermal: Annotated[list[Path] | None, _files("Heat: 16-bit PNG or TIFF, .npy.")] = None
    audio: Annotated[list[Path] | None, _files("Sound: WAV, FLAC, Ogg, MP3.")] = None
    series: Annotated[
        list[Path] | None, _files("Sensors over time: CSV, Parquet, .npy (samples, channels).")
    ] = None

    def found(self, photographs: Sequence[Path], *, below: bool = True) -> dict[str, list[Path]]:
        """Sense -> files, photographs first; folders as the files in them. Senses without: none.

        `below`: in their subfolders, too.
        """
        given = {"image": pictures_in(photographs, below=below)} if photographs else {}
        for one in fields(self):
            paths = getattr(self, one.name)
            if paths:
                given[one.name] = files_of(paths, one.name, below=below)
        return given


NO_FILES = SenseFiles()
MANY = tuple(f"--{one.name}" for one in fields(SenseFiles))


@dataclass(frozen=True, slots=True, kw_only=True)
class SenseReading:
    """How files are read, where they do not say it themselves."""

    depth_unit: Annotated[
        str | None, Option(metavar="mm|um|m", help="Of depth files.", show_default="mm")
    ] = None
    thermal_unit: Annotated[
        str | None,
        Option(
            metavar="C|K|cK", help="Of heat files; cK: hundredths of a kelvin.", show_default=False
        ),
    ] = None
    rate: Annotated[
        float | None,
        Option(metavar="HZ", help="Samples a second, where a table has no column of times."),
    ] = None
    method: Annotated[
        str | None,
        Option(
            metavar="memory|limits|ewma|cusum|matrix_profile|lstm|transformer",
            help="What judges sensors over time.",
            show_default="memory",
        ),
    ] = None

    bit_depth: opt.BitDepth = None
    bayer: opt.Bayer = None

    def reading(self) -> "FileReading":
        """The same, as the inspector takes it."""
        from anomalyst.inspection.file_reading import FileReading

        return FileReading(
            depth_unit=self.depth_unit,
            thermal_unit=self.thermal_unit,
            rate_hz=self.rate,
            method=self.method,
            bit_depth=self.bit_depth,
            bayer=self.bayer,
        )


def files_of(paths: Sequence[Path], sense: str, *, below: bool = True) -> list[Path]:
    """Files as they are, folders as the files of that sense in them (and below), by name.

    Raises AnomalystError for a folder without any; a missing file is left for its own error.
    """
    if sense == "image":
        return pictures_in(paths, below=below)
    from anomalyst.senses.sense import SUFFIXES

    suffixes = SUFFIXES[sense]
    return files_in(paths, suffixes, f"{sense} file", ", ".join(sorted(suffixes)), below=below)


def parts_of(given: Mapping[str, Sequence[Path]], taught: Sequence[str]) -> list[dict[str, Path]]:
    """The parts that files belong to, in the product's order of senses.

    Raises AnomalystError where senses are not those the product was taught with.
    """
    from anomalyst.inspection.parts import paired
    from anomalyst.product_index import refuse_other_senses

    refuse_other_senses("the product", taught, list(given))
    return paired({sense: given[sense] for sense in taught})


class ManyFiles(TyperCommand):
    """A command whose options for files take all that follow, as a shell writes `good/*.wav`."""

    many: ClassVar[tuple[str, ...]] = MANY

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`--audio a b` is read as `--audio a --audio b`, up to the next option."""
        spread: list[str] = []
        taking = ""
        for word in args:
            if word in self.many:
                taking, first = word, True
                continue
            if word.startswith("-"):
                taking = ""
            spread += [taking, word] if taking else [word]
            first = False
        if taking and first:
            spread.append(taking)  # without a file: refused by the parser
        return super().parse_args(ctx, spread)
