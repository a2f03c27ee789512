"""Hyper-parameters searched: every cell of a grid once, and other methods side by side."""

from itertools import product
from pathlib import Path

import optuna
import pytest
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.training.experiments.search import SearchConfig, search
from anomalyst.training.experiments.search_space import cells_of, read_space

pytestmark = pytest.mark.usefixtures("one_thread")
RECIPES = Path(__file__).parents[1] / "recipes" / "supervised"
GRID = ["learning_rate=1e-4..1e-2:2", "optimizer=adamw,rmsprop", "steps=1"]


def config(tiny, words, method="grid", trials=None) -> SearchConfig:
    space, overrides = read_space(words)
    return SearchConfig(
        recipe=tiny / "tiny.yaml", overrides=overrides, space=space, method=method, trials=trials
    )


def trials_in(out) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="search", storage=f"sqlite:///{out}/search.db").trials


def test_a_grid_has_every_combination_of_its_values_and_points():
    space, rest = read_space(["a=1e-4..1e-2:3", "b=1..9:3", "c=x,y,x", "d=0.1..0.5:2", "e=7"])
    values = [(1e-4, 1e-3, 1e-2), (1, 5, 9), ("x", "y"), (0.1, 0.5)]  # a spans 100: by factors
    assert [choice.values for choice in space] == values and rest == ("e=7",)
    assert [tuple(cell.values()) for cell in cells_of(space)] == list(product(*values))
    for wrong, said in (
        (["a=1..3:1"], "2 or more, at most 3"), (["a=1..3:4"], "at most 3, as they are whole"),
        (["a=1..3:x"], "how many values"), (["a=1..3", "a=4,5"], "a: is to be searched 2 times"),
    ):  # fmt: skip
        with pytest.raises(AnomalystError, match=said):
            read_space(wrong)
    with pytest.raises(AnomalystError, match=r"as in a=1e-05..1:5"):
        cells_of(read_space(["a=1e-5..1"])[0])


def test_a_grid_that_was_interrupted_twice_tries_every_cell_exactly_once(tiny, tmp_path):
    def end_after_the_first(sentence: str) -> None:
        raise KeyboardInterrupt(sentence)

    asked = config(tiny, GRID)
    with pytest.raises(KeyboardInterrupt):
        search(asked, tmp_path, on_trial=end_after_the_first)
    # A run whose process is killed leaves its trial begun: that cell must come once more.
    killed = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path}/search.db").ask()
    said: list[str] = []
    text = search(asked, tmp_path, jobs=2, on_trial=said.append)
    complete = [t for t in trials_in(tmp_path) if t.state == optuna.trial.TrialState.COMPLETE]
    tried = [tuple(trial.params.values()) for trial in complete]
    assert sorted(tried) == sorted(product((1e-4, 1e-2), ("adamw", "rmsprop")))
    assert len(said) == 3 and trials_in(tmp_path)[killed.number].state.name == "FAIL"
    assert "Method grid: 4 complete" in text and text == search(asked, tmp_path)


@pytest.mark.parametrize("looks", ["validate_every=10", "validate_every=0,10"])
def test_test_pictures_of_labelled_sets_choose_nothing(looks, tmp_path):
    space, overrides = read_space(["learning_rate=1e-4..1e-2", "data=nowhere", looks])
    asked = SearchConfig(recipe=RECIPES / "lenet.yaml", overrides=overrides, space=space)
    with pytest.raises(AnomalystError, match="leave validate_every at 0"):
        search(asked, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_goes_on_with_its_own_method_only(tiny, tmp_path):
    search(config(tiny, GRID, "random", 1), tmp_path)
    with pytest.raises(AnomalystError, match="holds a search with another method"):
        search(config(tiny, GRID, "gp", 2), tmp_path)


def test_a_grid_refuses_fewer_trials_than_cells_and_a_method_names_its_nearest(tiny, tmp_path):
    with pytest.raises(AnomalystError, match="the grid has 4 cells"):
        search(config(tiny, GRID, trials=3), tmp_path / "new")
    with pytest.raises(AnomalystError, match="--method 'girf'.* the nearest is 'grid'"):
        search(config(tiny, GRID, "girf"), tmp_path / "new")
    assert not (tmp_path / "new").exists()
    words = [str(tiny / "tiny.yaml"), *GRID[1:], "learning_rate=1e-4..1e-2", "--method", "grid"]
    done = CliRunner().invoke(app, ["search", *words, "--out", str(tmp_path / "new")])
    assert "a grid needs to know how many" in str(done.exception) and done.exit_code


@pytest.mark.parametrize(
    "method",
    [
        pytest.param("random", marks=pytest.mark.slow),
        pytest.param("tpe", marks=pytest.mark.slow),
        "gp",
    ],
)
def test_every_method_chooses_the_same_again(method, tiny, tmp_path):
    """Six trials of one short step each: TPE and the Gaussian process learn from the sixth on."""
    asked = config(tiny, ["learning_rate=1e-4..1e-2", "warmup_steps=1..9", "steps=1"], method, 6)
    for name in ("once", "again"):
        search(asked, tmp_path / name)
    once, again = ([t.params for t in trials_in(tmp_path / n)] for n in ("once", "again"))
    assert once == again and len({tuple(params.values()) for params in once}) == 6
