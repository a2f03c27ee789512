"""Tables as spreadsheets and other systems write them; a damaged one is refused in one sentence."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anomalyst.datasets import read_dataset
from anomalyst.datasets.tables import read_csv
from anomalyst.errors import AnomalystError, RecordingError
from anomalyst.senses.series import read_series

# A folder serves all examples of a test: each writes its own file anew.
ONE_FOLDER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff"),
    max_size=12,
)
CELLS = TEXT | st.sampled_from(
    ["1,5", "a;b", "x\ty", 'say "no"', "two\nlines", "dup\\a\\x.png", ""]
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")


@ONE_FOLDER
@given(
    rows=st.lists(st.tuples(CELLS, CELLS), max_size=5),
    mark=st.sampled_from(",;\t"),
    encoding=st.sampled_from(ENCODINGS),
    end=st.sampled_from(["\n", "\r\n"]),
    says=st.booleans(),
)
def test_what_a_spreadsheet_saves_is_read_back(tmp_path, rows, mark, encoding, end, says):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=mark, lineterminator=end)
    writer.writerow(["image", "note; with, all", "more"])
    writer.writerows([*row, "z"] for row in rows)
    file = tmp_path / "table.csv"
    head = f"sep={mark}{end}" if says else ""
    file.write_bytes((head + text.getvalue()).encode(encoding))
    found = read_csv(file, needs=["image"])
    assert [(r.cells["image"], r.cells["note; with, all"]) for r in found] == [
        (a.strip(), b.strip()) for a, b in rows
    ]
    lines = [1 + says + 1 + i + sum(c.count("\n") for r in rows[: i + 1] for c in r)
             for i in range(len(rows))]  # fmt: skip
    assert [r.line for r in found] == lines


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_from_windows_names_pictures_here(tmp_path, encoding, mark):
    folder = tmp_path / "dup" / "a"
    folder.mkdir(parents=True)
    for name in ("x.png", "1,5 mm.png"):
        (folder / name).write_bytes(b"x")
    lines = [["image", "label", "width"], ["dup\\a\\x.png", "normal", '"1,5"'],
             ['"dup\\a\\1,5 mm.png"', "", "2"]]  # fmt: skip
    text = "\r\n".join(mark.join(line) for line in lines)
    (tmp_path / "set.csv").write_bytes(text.encode(encoding))
    samples = read_dataset(tmp_path / "set.csv")
    assert [s.image for s in samples] == [folder / "x.png", folder / "1,5 mm.png"]
    assert samples[0].extra == {"width": "1,5"}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"image\nC:\\line 1\\x.png", r"line 2: the image 'C:.*' is a path of another machine"),
        (b"image\n\\\\server\\x.png", "line 2: .* is a path of another machine"),
        (b"image;label\na.png;normal;x", "line 2: has more cells .* 2; quote cells that hold semi"),
        (b"image,image\na.png,b.png", "has two columns 'image'"),
        (b"image\na.png\npr\xfcfung.png", "line 3: is not UTF-8 text; save the table as UTF-8"),
        ("image\nx".encode("utf-16")[:-1], "line 2: is not UTF-16 text; save the table"),
        (b"image\na\x00b.png", "line 2: there is no image"),
        (b'image\n"a.png', "line 2: unexpected end of data; mend its quotes"),
        (b"\xff\xd8\xff\xe0 a picture that is called .csv", "line 1: is not UTF-8 text"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(tmp_path, data, said):
    (tmp_path / "set.csv").write_bytes(data)
    with pytest.raises(AnomalystError, match=said):
        read_dataset(tmp_path / "set.csv")


def only_a_sentence(read, file: Path) -> None:
    try:
        read(file)
    except AnomalystError as error:
        assert "\n" not in str(error) and len(str(error)) < 2000


GOOD_CSV = 'image;label\r\n"a.png";normal\r\nb.png;anomalous\r\n'.encode("utf-16")
GOOD_JSONL = b'{"image": "a.png", "label": "normal"}\n{"image": "b.png"}\n'


def damaged(data: bytes, at: float, change: bytes, cut: int) -> bytes:
    place = int(at * len(data))
    return data[:place] + change + data[place + cut :]


DAMAGE = {
    "at": st.floats(0, 1), "change": st.binary(max_size=6), "cut": st.integers(0, 8),
}  # fmt: skip


@ONE_FOLDER
@given(kind=st.sampled_from(["csv", "jsonl"]), data=st.binary(max_size=80))
@example(kind="csv", data=b'"a\nb",c\n')
@example(kind="jsonl", data=b"9" * 5000)
@example(kind="jsonl", data=b"[" * 100_000)
def test_any_bytes_are_a_table_or_a_sentence(tmp_path, kind, data):
    file = tmp_path / f"set.{kind}"
    file.write_bytes(data)
    only_a_sentence(read_dataset, file)


@ONE_FOLDER
@given(utf_8=st.booleans(), kind=st.sampled_from(["csv", "jsonl"]), **DAMAGE)
def test_a_damaged_table_is_a_table_or_a_sentence(tmp_path, utf_8, kind, at, change, cut):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    whole = GOOD_JSONL if kind == "jsonl" else GOOD_CSV
    whole = whole.decode("utf-16").encode() if utf_8 and kind == "csv" else whole
    file = tmp_path / f"set.{kind}"
    file.write_bytes(damaged(whole, at, change, cut))
    only_a_sentence(read_dataset, file)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_sensor_tables_of_spreadsheets(tmp_path, encoding):
    rows = [f"{n / 10:.1f};{n % 3},5".replace(".", ",") for n in range(20)]
    file = tmp_path / "torque.csv"
    file.write_bytes("\r\n".join(["sep=;", "time;torque", *rows]).encode(encoding))
    found = read_series(file)
    assert found.rate_hz == pytest.approx(10) and found.channels == ("torque",)
    assert np.allclose(found.values[:, 0], [n % 3 + 0.5 for n in range(20)])
    assert "decimal commas in torque" in found.notes


SENSOR = "\n".join(["time,a,b", *(f"{n / 10},{n % 3},{n}" for n in range(20))]).encode()


@ONE_FOLDER
@given(raw=st.binary(max_size=60), whole=st.booleans(), **DAMAGE)
def test_a_damaged_sensor_table_is_a_recording_or_a_sentence(tmp_path, raw, whole, at, change, cut):
    file = tmp_path / "a.csv"
    file.write_bytes(damaged(SENSOR, at, change, cut) if whole else raw)
    try:
        read_series(file)
    except RecordingError as error:
        assert "\n" not in str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@ONE_FOLDER
@given(value=JSON, where=st.sampled_from(["train", "test", "meta", "image", "mask", "kind", "all"]))
def test_a_damaged_list_of_real_iad_is_a_list_or_a_sentence(tmp_path, value, where):
    category = tmp_path / "audiojack"
    for folder in ("OK/S0001", "NG/BX/S0001"):
        (category / folder).mkdir(parents=True, exist_ok=True)
    entry = {"image_path": "OK/a.jpg", "mask_path": None, "anomaly_class": "OK"}
    names = {"image": "image_path", "mask": "mask_path", "kind": "anomaly_class"}
    listed = {"meta": {"normal_class": "OK"}, "train": [entry], "test": [entry]}
    if where in names:
        listed["train"] = [entry | {names[where]: value, "anomaly_class": "BX"}]
    else:
        listed = value if where == "all" else listed | {where: value}
    file = tmp_path / "realiad_jsons" / "audiojack.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(listed))
    only_a_sentence(read_dataset, tmp_path)
