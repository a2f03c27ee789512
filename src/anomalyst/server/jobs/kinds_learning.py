"""Learning a product's own kinds of defects, in the model process."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from anomalyst.detection.classifiers.own_kinds import KindExample, OwnKinds, learn_own_kinds
from anomalyst.errors import PictureError
from anomalyst.inspection.named_places import named_examples
from anomalyst.inspector import Inspector
from anomalyst.product import Product
from anomalyst.server.jobs.tasks import LearnKinds


def learn_kinds(
    inspector: Inspector, product: Product, task: LearnKinds, say: Callable[[str], None]
) -> tuple[OwnKinds | None, dict[str, Any]]:
    """The kinds that named masks teach, None where they are not taken; and the figures.

    A picture that cannot be read is left out and named in the figures.
    """
    examples: list[KindExample] = []
    unread = []
    for number, one in enumerate(task.named, start=1):
        try:
            with inspector.pipeline.threads():
                examples += named_examples(
                    inspector.pipeline, product, one.image, one.mask, one.label
                )
        except PictureError as error:
            unread.append(f"{one.name}: {error.reason}")
        say(f"{number} of {len(task.named)} looks")
    kinds, figures = learn_own_kinds(examples)
    if kinds is not None:
        used = [id for one in task.named if one.label in kinds.names for id in one.corrections]
        kinds = replace(kinds, about={**kinds.about, "corrections": used})
    return kinds, asdict(figures) | {"unread": unread}
