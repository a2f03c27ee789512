"""What is trained: an arm is one network under one change, run with several seeds.

Groups, after the proposal this study repeats: every network from labels alone (approach 1: a plain
ViT; approach 3: the convolutional CvT; and the CNNs beside them); students that learn from a
teacher as well (approach 2); the ways of bringing pictures and features to one scale; and how
depth, width and patches matter.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from anomalyst.errors import AnomalystError

Group = Literal["scratch", "distilled", "normalised", "ablation"]
GROUPS: tuple[Group, ...] = get_args(Group)
TEACHERS = ("resnet", "vgg", "alexnet")  # in turn, as in the proposal; the first teaches the rest
STUDENT = "deit"  # a ViT with a token of its own for the teacher's word
NETWORKS = ("vit", STUDENT, "cvt", *TEACHERS, "lenet")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworksConfig:
    """What is run, and with which overrides of the recipes."""

    data: Path
    recipes: Path = Path("recipes/supervised")
    overrides: tuple[str, ...] = ()
    groups: tuple[Group, ...] = GROUPS
    seeds: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One network under one change."""

    name: str
    group: Group
    network: str  # its recipe
    words: tuple[str, ...] = ()  # what the arm changes in it
    teacher: str = ""  # the arm whose run of the same seed teaches
    parameters_share: float = 1.0  # of the recipe's parameters
    first_seed_only: bool = False

    def folder(self, out: Path, seed: int) -> Path:
        """Where its run with a seed lies."""
        return out / "runs" / f"{self.name.replace(', ', '-').replace(' ', '-')}-{seed}"

    def taught_by(self, out: Path, seed: int) -> str:
        """The run of the same seed that teaches; "" for labels alone."""
        if not self.teacher:
            return ""
        return str(next(one for one in _scratch() if one.name == self.teacher).folder(out, seed))


def chosen_groups(text: str) -> tuple[Group, ...]:
    """Of `scratch,distilled`. Raises AnomalystError for what is no group."""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in GROUPS:
            raise AnomalystError(f"--groups: there is no {word!r}; it is {', '.join(GROUPS)}.")
    return tuple(group for group in GROUPS if group in words)


def arms_of(groups: Sequence[Group]) -> list[Arm]:
    """Every arm of the groups; teachers stand before whom they teach."""
    made = {
        "scratch": _scratch, "distilled": _distilled, "normalised": _normalised,
        "ablation": _ablation,
    }  # fmt: skip
    wanted = [group for group in GROUPS if group in groups or group == "scratch"]
    return [arm for group in wanted for arm in made[group]()]


def _scratch() -> Iterator[Arm]:
    for network in NETWORKS:
        yield Arm(name=network, group="scratch", network=network)


def _distilled() -> Iterator[Arm]:
    for teacher in TEACHERS:
        yield _student(STUDENT, teacher, "hard")
    for way in ("soft", "features"):
        yield _student(STUDENT, TEACHERS[0], way)
    for network in NETWORKS:
        if network not in (STUDENT, TEACHERS[0]):
            yield _student(network, TEACHERS[0], "soft")


def _student(network: str, teacher: str, way: str) -> Arm:
    return Arm(
        name=f"{network} of {teacher}, {way}",
        group="distilled",
        network=network,
        words=(f"distil={way}",),
        teacher=teacher,
    )


def _normalised() -> Iterator[Arm]:
    for network in NETWORKS:
        for way in ("picture", "none"):
            yield _changed("normalised", network, f"pictures by {way}", f"normalise={way}")
    for network, ways in (("resnet", ("layer", "group")), ("vgg", ("none", "group"))):
        for way in ways:  # their recipes have batch
            yield _changed("normalised", network, f"features by {way}", f"model.norm={way}")


def _ablation() -> Iterator[Arm]:
    """Depth and patch at the same number of parameters (the width gives way), then the width."""
    for depth in (2, 4, 10):
        yield _changed("ablation", "vit", f"depth {depth}", f"model.depth={depth}")
    for patch in (4, 16):
        yield _changed("ablation", "vit", f"patch {patch}", f"model.patch={patch}")
    for network in ("vit", "resnet"):
        for share in (0.25, 4.0):
            arm = _changed("ablation", network, f"parameters x {share:g}")
            yield replace(arm, parameters_share=share)


def _changed(group: Group, network: str, what: str, *words: str) -> Arm:
    return Arm(
        name=f"{network}, {what}",
        group=group,
        network=network,
        words=words,
        first_seed_only=group == "ablation",
    )
