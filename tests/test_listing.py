"""Which files of a folder are meant, and what a command says where it is not clear."""

import pytest

from anomalyst.cli.screen import pictures_in
from anomalyst.errors import AnomalystError
from anomalyst.io.listing import list_below


@pytest.fixture
def tree(tmp_path):
    """A camera's folder as it is found on a line: days, stations, and what systems leave there."""
    for name in (
        "mo/1/a.png", "mo/1/b.JPG", "mo/2/a.png", "tu/c d#%.tif", "tu/notes.txt", ".trash/x.png",
        "__MACOSX/mo/._a.png", "mo/@eaDir/a.png/thumb.png", "$RECYCLE.BIN/y.png",
        "mo/1/.hidden.png", "out/report.html", "out/a.png",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_means_what_lies_below_it_and_nothing_that_systems_put_there(tree):
    found = pictures_in([tree])
    assert [path.relative_to(tree).as_posix() for path in found] == [
        "mo/1/a.png", "mo/1/b.JPG", "mo/2/a.png", "tu/c d#%.tif",
    ]  # fmt: skip
    assert pictures_in([tree / "out"]) == [tree / "out/a.png"]  # asked for by name


def test_links_are_followed_and_end(tree):
    (tree / "mo" / "again").symlink_to(tree)
    (tree / "linked").symlink_to(tree / "tu")
    names = [path.name for path in pictures_in([tree])]
    assert sorted(names) == ["a.png", "a.png", "b.JPG", "c d#%.tif"]
    assert list(list_below(tree / "linked", frozenset({".tif"}))) == [tree / "linked"]


def test_good_parts_are_not_guessed_among_subfolders(tree):
    with pytest.raises(AnomalystError, match=r"holds no picture itself; below it are .*mo/1 \(2\)"):
        pictures_in([tree], below=False)
    assert len(pictures_in([tree / "mo" / "1"], below=False)) == 2
    (tree / "empty").mkdir()
    with pytest.raises(AnomalystError, match="holds no picture; PNG"):
        pictures_in([tree / "empty"])
