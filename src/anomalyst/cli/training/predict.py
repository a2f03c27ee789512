"""`anomalyst predict`: the class of pictures by a network that `train` made."""

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from anomalyst.cli.screen import pictures_in, print_table, progress, say
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.io.files import write_text

if TYPE_CHECKING:
    from anomalyst.training.networks.classifier import Classifier

FORMATS = (".csv", ".json")


def predict(
    run: Annotated[Path, Argument(metavar="RUN", help="A run of recipes/supervised.")],
    pictures: Annotated[
        list[Path], Argument(metavar="PICTURES...", help="Pictures, or folders of them.")
    ],
    out: Annotated[
        Path | None, Option(metavar="FILE.csv|FILE.json", help="Write the table here.")
    ] = None,
) -> None:
    """Say of which class pictures are, and how probable each class is.

    A picture that cannot be read is named and the others go on; where none can, the exit code
    is 2.

    Example: anomalyst predict runs/vit new/ --out out/classes.csv
    """
    from anomalyst.training.networks.classifier import Classifier

    if out is not None and out.suffix.lower() not in FORMATS:
        raise AnomalystError(f"--out {out}: a file ending in .csv or .json is needed.")
    classifier, files = Classifier.load(run), pictures_in(pictures)
    rows, skipped = [], []
    with progress("Looking", len(files)) as bar:
        for file in files:
            try:
                rows.append(_row(classifier, file))
            except PictureError as error:
                skipped.append(error)
            bar.advance()
    for one in skipped:
        say(f"Left out: {one}")
    if not rows:
        raise AnomalystError(f"None of {len(files)} pictures could be read.")
    _show(rows, classifier.classes)
    if out is not None:
        write_text(out, _as_csv(rows) if out.suffix.lower() == ".csv" else _as_json(rows))
        say(f"Written: {out}")


def _row(classifier: "Classifier", file: Path) -> dict[str, Any]:
    shares = classifier.probabilities([file])[0].tolist()
    by_class = dict(zip(classifier.classes, shares, strict=True))
    best = max(by_class, key=lambda name: by_class[name])
    return {"picture": str(file), "class": best, "probabilities": by_class}


def _show(rows: list[dict[str, Any]], classes: tuple[str, ...]) -> None:
    cells = [
        (row["picture"], row["class"], *(f"{row['probabilities'][c]:.3f}" for c in classes))
        for row in rows
    ]
    print_table("Classes", ["picture", "class", *classes], cells)


def _as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    names = list(rows[0]["probabilities"])
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["picture", "class", *names])
    table.writerows(
        [row["picture"], row["class"], *(f"{row['probabilities'][n]:.6f}" for n in names)]
        for row in rows
    )
    return text.getvalue()


def _as_json(rows: list[dict[str, Any]]) -> str:
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
