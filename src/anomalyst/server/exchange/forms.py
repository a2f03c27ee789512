"""The formats that drawn masks go out in and come back in."""

from typing import Literal, get_args

from anomalyst.errors import AnomalystError

Form = Literal["coco", "labelstudio", "mvtec"]


def check_form(form: str) -> None:
    """Raise AnomalystError for a format that is none."""
    if form not in get_args(Form):
        raise AnomalystError(f"--format {form}: is none of {', '.join(get_args(Form))}.")
