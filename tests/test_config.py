"""Recipes: YAML and key=value into frozen dataclasses; files written whole or not at all."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from anomalyst.config import from_mapping, load, to_mapping, with_overrides
from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_bytes, write_text, written_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimiser:
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    steps: int
    name: str = "plain"
    optimiser: Optimiser = field(default_factory=Optimiser)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise AnomalystError(f"steps is {self.steps}; at least 1 is needed.")


def test_yaml_and_overrides_fill_the_same_tree(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("steps: 10\noptimiser:\n  betas: [0.5, 0.9]\n")
    # YAML 1.1 reads 1e-4, without a point, as text; it must still become a number.
    recipe = load(Recipe, path, ["optimiser.learning_rate=1e-4", "name=long"])
    assert recipe == Recipe(
        steps=10, name="long", optimiser=Optimiser(learning_rate=1e-4, betas=(0.5, 0.9))
    )
    assert from_mapping(Recipe, to_mapping(recipe)) == recipe


def test_an_override_does_not_change_what_it_was_given():
    values = {"steps": 1, "optimiser": {"learning_rate": 0.1}}
    merged = with_overrides(values, ["optimiser.learning_rate=0.2", "optimiser.betas=[0.1, 0.2]"])
    assert merged["optimiser"] == {"learning_rate": 0.2, "betas": [0.1, 0.2]}
    assert values == {"steps": 1, "optimiser": {"learning_rate": 0.1}}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"step": 1}, "there is no key 'step'; the nearest is 'steps'"),
        (
            {"steps": 1, "optimiser": {"lerning_rate": 1}},
            "no key 'optimiser.lerning_rate'; the nearest is 'optimiser.learning_rate'",
        ),
        ({"steps": "many"}, "steps is 'many'; .*valid integer"),
        ({"steps": 1.5}, "steps is 1.5; .*integer"),
        ({"steps": 1, "optimiser": {"betas": [1]}}, r"optimiser.betas.*required"),
        ({"steps": 1, "optimiser": 3}, "optimiser is 3; "),
        ({}, "steps is .*required"),
        ({"steps": 0}, "steps is 0; at least 1"),
    ],
)
def test_a_wrong_recipe_names_the_key_and_what_is_needed(values, sentence):
    with pytest.raises(AnomalystError, match=sentence):
        from_mapping(Recipe, values)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("steps", "'steps' is not an override; write key=value"),
        ("=3", "not an override"),
        ("steps.more=3", "steps is a value, not a section"),
        ("steps=[1", "not readable as YAML"),
    ],
)
def test_a_wrong_override_is_quoted_in_the_sentence(override, sentence):
    with pytest.raises(AnomalystError, match=sentence):
        with_overrides({"steps": 1}, [override])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"steps: [", "not readable as YAML"),
        (b"- 1\n- 2", "holds a list; a mapping is needed"),
        (b"\xff\xfe\x00", "not readable as YAML"),
        (b"", "steps"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_by_name(tmp_path, content, sentence):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(AnomalystError, match=sentence) as caught:
        load(Recipe, path)
    assert str(path) in str(caught.value)
    with pytest.raises(AnomalystError, match="there is no such recipe"):
        load(Recipe, tmp_path / "none.yaml")


def test_yaml_cannot_build_python_objects(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("steps: !!python/object/apply:os.getpid []")
    with pytest.raises(AnomalystError, match="not readable as YAML"):
        load(Recipe, path)


def test_a_file_is_written_into_folders_that_do_not_exist_yet(tmp_path):
    write_text(tmp_path / "a" / "b" / "note.txt", "Prüfung")
    assert (tmp_path / "a" / "b" / "note.txt").read_bytes() == "Prüfung".encode()
    write_bytes(tmp_path / "a" / "b" / "note.txt", b"second")
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["note.txt"]
    assert (tmp_path / "a" / "b" / "note.txt").read_bytes() == b"second"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "bank.bin"
    path.write_bytes(b"old")
    with (
        pytest.raises(AnomalystError, match="the disk is full, nothing was written"),
        written_whole(path) as part,
    ):
        part.write_bytes(b"half")
        Path("/dev/full").write_bytes(b"the other half")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_or_an_interrupt_leaves_nothing_behind(tmp_path):
    for stop in (ValueError("a bug"), KeyboardInterrupt()):
        with pytest.raises(type(stop)), written_whole(tmp_path / "x.bin") as part:
            part.write_bytes(b"half")
            raise stop
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(AnomalystError, match="a file is in the way of this folder"):
        write_text(tmp_path / "taken" / "note.txt", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(AnomalystError, match="folder: cannot be written"):
        write_text(tmp_path / "folder", "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder", "taken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    several: tuple[Optimiser, ...] = ()
    named: dict[str, Optimiser] = field(default_factory=dict)
    maybe: Optimiser | None = None


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"several": [{"betas": [0, 1]}, {"lerning_rate": 1}]}, "several.1.lerning_rate"),
        ({"named": {"head": {"lerning_rate": 1}}}, "named.head.lerning_rate"),
        ({"maybe": {"lerning_rate": 1}}, "maybe.lerning_rate"),
    ],
)
def test_an_unknown_key_is_found_inside_lists_mappings_and_optional_sections(values, key):
    with pytest.raises(AnomalystError, match=f"no key '{key}'; the nearest is"):
        from_mapping(Nested, values)
    assert from_mapping(Nested, {"maybe": None, "named": {}}) == Nested()
