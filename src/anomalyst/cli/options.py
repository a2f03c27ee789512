"""Options that several commands share, written once; and groups of them as dataclasses."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.inspection.config import Words

Dataset = Annotated[
    Path,
    Argument(
        metavar="DATASET",
        help="The set: a folder as it was published, or a plain one, or a .csv/.jsonl table.",
    ),
]
Categories = Annotated[
    list[str] | None, Option(metavar="NAME", help="Only this one; may be repeated.")
]
MaxPictures = Annotated[int | None, Option(metavar="N", help="At most N test pictures a category.")]
References = Annotated[
    list[Path] | None,
    Option(metavar="GOOD", help="A good picture to compare with; may be repeated."),
]
About = Annotated[str, Option(metavar="TEXT", help="What to know of it, as in 'the print is 500'.")]
FalseAlarmRate = Annotated[float, Option(help="Share of good pictures it may call anomalous.")]
Adapt = Annotated[
    bool | None,
    Option(
        "--adapt/--no-adapt",
        help="Fit the detector to it: 4 or more pictures, seconds. They calibrate no longer.",
        show_default="from 27 good pictures on",
    ),
]
Products = Annotated[Path, Option(metavar="DIR", help="Where taught products live.")]
Results = Annotated[Path, Option(metavar="DIR", help="Where results go.")]
JsonLines = Annotated[bool, Option("--json", help="Print one JSON object a line and nothing else.")]
JsonObject = Annotated[bool, Option("--json", help="Print one JSON object and nothing else.")]
Language = Annotated[
    Path | None,
    Option(
        metavar="DIR",
        help="Language model: the folder of one trained with the encoder.",
        show_default="shipped, for the embedded encoder",
    ),
]
_ENCODERS = "embedded|run:DIR|hf:DIR|imagebind:DIR"
_ENCODER_HELP = "The encoder: shipped, of a run, or a model."
Encoder = Annotated[str, Option(metavar=_ENCODERS, help=_ENCODER_HELP)]
EncoderName = Annotated[
    str | None,
    Option(metavar=_ENCODERS, help=_ENCODER_HELP, show_default="the product's, or embedded"),
]
Precision = Annotated[
    str,
    Option(
        metavar="auto|float32|bfloat16",
        help="Number format of the networks; auto: the fastest here.",
    ),
]
Device = Annotated[
    str, Option(metavar="auto|cpu|cuda", help="Where networks compute; auto: a GPU if there is.")
]
Engine = Annotated[
    str,
    Option(
        metavar="auto|torch|onnx|openvino",
        help="What runs the networks; auto: one built by `anomalyst export`, else torch.",
    ),
]
Seed = Annotated[int, Option(help="The same seed gives the same bytes.")]
DryRun = Annotated[bool, Option("--dry-run", help="Say what would be made; write nothing.")]
Home = Annotated[Path, Option(metavar="DIR", help="Where the record is: database, pictures.")]
Database = Annotated[
    str | None,
    Option(
        metavar="URL",
        help="postgresql+psycopg://USER:PASSWORD@HOST/NAME.",
        show_default="SQLite in --home",
    ),
]
AlignRecipes = Annotated[Path, Option(metavar="DIR", help="sft.yaml, reward.yaml, ...")]
RecipeFile = Annotated[Path, Argument(metavar="RECIPE.yaml", help="What to train.")]
Overrides = Annotated[
    list[str] | None,
    Argument(metavar="key=value...", help="Change keys of the recipe, as in steps=100."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """How and where networks compute."""

    precision: Precision = "auto"
    device: Device = "auto"
    engine: Engine = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large pictures are looked at: by need, by the side, or by what must be seen."""

    quality: Annotated[
        str | None,
        Option(
            metavar="fast|default|high",
            help="fast: side 192, about half the work. high: side 384, finer maps, 2.8 times.",
            show_default="the product's, or default",
        ),
    ] = None
    side: Annotated[
        str | None,
        Option(
            metavar="64..1024|auto",
            help="Working side in pixels; auto: from the finest structure of the good pictures.",
            show_default="the product's, or the encoder's own: 256",
        ),
    ] = None
    smallest_defect_px: Annotated[
        float | None,
        Option(metavar="N", help="Work at a size that shows a defect of N picture pixels."),
    ] = None

    def asked(self) -> str | None:
        """The size asked for as one word; None: the encoder's own."""
        defect = self.smallest_defect_px
        named = None if self.quality in (None, "default") else f"quality-{self.quality}"
        return self.side or named or (None if defect is None else f"defect{defect:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """Crisp masks of what was found."""

    refine: Annotated[
        bool, Option("--refine", help="Draw each region's crisp edge (segmentation).")
    ] = False
    segmenter: Annotated[
        str,
        Option(metavar="default|run:DIR|sam:DIR|grabcut", help="What draws it, for --refine."),
    ] = "default"
    panoptic: Annotated[
        bool,
        Option("--panoptic", help="Also label each pixel: background, product, part, region."),
    ] = False


NO_MASKS = Masks()
OWN_SIZE = Size()  # the product's, or the encoder's


BitDepth = Annotated[
    int | None,
    Option(
        metavar="10|12|14|16",
        help="Of photographs of 16 bits a value.",
        show_default="found out from the files",
    ),
]
Bayer = Annotated[
    str | None,
    Option(metavar="rggb|bggr|grbg|gbrg", help="Photographs are a camera's raw mosaic."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What pictures are compared with: one of these."""

    product: Annotated[
        str | None, Option(metavar="NAME", help="A product made with `anomalyst teach`.")
    ] = None
    reference: References = None
    zero_shot: Annotated[bool, Option("--zero-shot", help="No good picture: judge by itself.")] = (
        False
    )
    bit_depth: BitDepth = None
    bayer: Bayer = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTower:
    """Words for the sound product and the damaged one, beside good pictures or in their stead."""

    text_tower: Annotated[
        str | None,
        Option(
            metavar="DIR",
            help="Let words judge, too: a CLIP folder, or a run of recipes/text_aligned.yaml.",
            show_default="pictures alone",
        ),
    ] = None
    states: Annotated[
        tuple[Path, Path] | None,
        Option(metavar="GOOD.txt BAD.txt", help="States of the product, one a line, {} its name."),
    ] = None

    def __post_init__(self) -> None:
        if self.states is not None and self.text_tower is None:
            raise AnomalystError("--states are a text tower's words; give --text-tower DIR, too.")

    def asked(self, name: str) -> "Words | None":
        """The words for a product of this name. Raises AnomalystError for states that are none."""
        from anomalyst.inspection.config import Words
        from anomalyst.vlm.text_tower import States

        if self.text_tower is None:
            return None
        states = States.read(*self.states) if self.states else States()
        return Words(tower=self.text_tower, name=name, states=states)


PICTURES_ALONE = TextTower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """What is known, and how pictures are judged."""

    about: About = ""
    false_alarm_rate: FalseAlarmRate = 0.05
    products: Products = Path("products")
    encoder: EncoderName = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """How a set is made from a set."""

    category: Categories = None
    seed: Seed = 0
    workers: Annotated[
        int | None, Option(min=1, metavar="N", help="Processes.", show_default="one per core")
    ] = None
    dry_run: DryRun = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Where the record of inspections is kept."""

    home: Home = Path("workbench")
    database: Database = None


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command with an option for every field of each parameter that is a dataclass."""
    signature = inspect.signature(command)
    groups: dict[str, Any] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if is_dataclass(parameter.annotation)
    }
    spread: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        spread += [
            parameter.replace(name=field.name, default=field.default, annotation=field.type)
            for field in (fields(groups[name]) if name in groups else ())
        ] or [parameter]

    @wraps(command)
    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    run.__signature__ = signature.replace(parameters=spread)  # type: ignore[attr-defined]
    return run
