"""Episodes on photographs that packages ship."""

from importlib.resources import files

import numpy as np
import pytest

from anomalyst.errors import AnomalystError
from anomalyst.synthetic import photographs
from anomalyst.synthetic.photographs import PHOTOGRAPHS, photograph_episode
from anomalyst.synthetic.procedural import WorldConfig

pytest.importorskip("skimage", reason="needs the extra [train]")
WORLD = WorldConfig(size_px=96, references=(2, 2), anomalous_share=1.0)


def test_every_photograph_is_there_and_says_whose_it_is():
    for name, whose in PHOTOGRAPHS.items():
        package, _, file = name.partition("/")
        assert (files(package) / file).is_file(), name
        assert whose


def test_the_same_seed_gives_the_same_bytes_and_masks_cover_what_was_planted():
    visible = 0
    for seed in range(12):
        one, again = (photograph_episode((3, seed), WORLD) for _ in "ab")
        assert (one.query == again.query).all() and (one.references == again.references).all()
        assert one.references.shape == (2, 96, 96, 3) and one.mask.shape == (96, 96)
        visible += bool(one.mask.any())
    assert visible >= 10
    normal = photograph_episode(5, WorldConfig(size_px=64, references=(1, 1), anomalous_share=0))
    assert not normal.mask.any()


def test_good_pictures_of_one_thing_are_alike_and_of_another_are_not():
    def apart(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.abs(a.astype(float) - b).mean())

    things = [photograph_episode((7, seed), WORLD).references for seed in range(10)]
    same = np.median([apart(*pair) for pair in things])
    other = np.median([apart(a[0], b[1]) for a in things for b in things if a is not b])
    assert same < 0.5 * other


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(photographs, "PHOTOGRAPHS", {"no_such_package.data/a.png": "", "b/c": ""})
    with pytest.raises(AnomalystError, match="is not installed"):
        photograph_episode(0, WORLD)
