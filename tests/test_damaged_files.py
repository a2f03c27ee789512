"""Products, product files and backups that are damaged: one sentence, never a traceback."""

import io
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anomalyst.errors import AnomalystError
from anomalyst.product import Product
from anomalyst.product_index import RECORD, sense_folders
from anomalyst.server.config import ServingConfig
from anomalyst.server.records.packing import pack, unpack
from anomalyst.server.storage.retention import back_up, restore
from conftest import DEMO

GOOD = sorted((DEMO / "flange" / "good").glob("*.jpg"))[:1]
A_FEW = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def product(inspector, tmp_path_factory) -> Path:
    """A product's folder; each test damages a copy of a file and puts it back."""
    folder = tmp_path_factory.mktemp("products") / "flange"
    inspector.teach("flange", GOOD, adapted=False).save(folder)
    return folder


def told_or_read(read, *args) -> None:
    try:
        read(*args)
    except AnomalystError as error:
        assert "\n" not in str(error).strip() and len(str(error)) < 4000, str(error)


def places(value, path=()) -> list[tuple]:
    """The way to every value in a tree of JSON."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = [(*path, key) for key, _ in inner]
    for key, one in list(value.items() if isinstance(value, dict) else enumerate(value)):
        if isinstance(one, dict | list):
            found += places(one, (*path, key))
    return found


@A_FEW
@given(data=st.data())
def test_a_record_with_another_value_anywhere(product, data):
    text = (product / RECORD).read_text()
    record = json.loads(text)
    *way, last = data.draw(st.sampled_from(places(record)))
    node = record
    for key in way:
        node = node[key]
    if data.draw(st.booleans()):
        node[last] = data.draw(JSON)
    else:
        del node[last]
    try:
        (product / RECORD).write_text(json.dumps(record))
        told_or_read(Product.load, product)
        told_or_read(sense_folders, product)
    finally:
        (product / RECORD).write_text(text)


@A_FEW
@given(
    name=st.sampled_from([RECORD, "bank.safetensors"]), at=st.floats(0, 1),
    change=st.binary(max_size=9), cut=st.integers(0, 2000),
)  # fmt: skip
@example(name=RECORD, at=0.0, change=b"[" * 100_000, cut=0)
def test_a_file_of_a_product_with_other_bytes(product, name, at, change, cut):
    whole = (product / name).read_bytes()
    place = int(at * len(whole))
    try:
        (product / name).write_bytes(whole[:place] + change + whole[place + cut :])
        told_or_read(Product.load, product)
    finally:
        (product / name).write_bytes(whole)


DAMAGE = {
    "at": st.floats(0, 1), "change": st.binary(min_size=1, max_size=9),
    "cut": st.integers(0, 200),
}  # fmt: skip


def damaged(whole: bytes, at: float, change: bytes, cut: int) -> bytes:
    place = int(at * len(whole))
    return whole[:place] + change + whole[place + cut :]


@A_FEW
@given(**DAMAGE)
def test_a_damaged_product_file_is_refused_and_leaves_nothing(tmp_path, at, change, cut):
    """A small one: what is in its pictures nobody reads before it is used."""
    source = tmp_path / "from" / "bolt"
    if not source.exists():
        (source / "references").mkdir(parents=True)
        shutil.copy(GOOD[0], source / "references" / "0001.jpg")
        (source / "bank.safetensors").write_bytes(b"x" * 100)
        record = {"format": 2, "name": "bolt", "references": [{"file": "references/0001.jpg"}]}
        (source / RECORD).write_text(json.dumps(record))
    pack("bolt", source.parent, tmp_path / "bolt.zip")
    whole = (tmp_path / "bolt.zip").read_bytes()
    products = tmp_path / "products"
    told_or_read(unpack, io.BytesIO(damaged(whole, at, change, cut)), products)
    left = [p.name for p in products.iterdir()] if products.exists() else []
    assert not [name for name in left if name.startswith(".")]
    shutil.rmtree(products, ignore_errors=True)


@A_FEW
@given(**DAMAGE)
def test_a_damaged_backup_is_refused(tmp_path, at, change, cut):
    target = tmp_path / "backup.tar.gz"
    if not target.exists():
        home = ServingConfig(home=tmp_path / "home", products=tmp_path / "home" / "products")
        back_up(home, tmp_path / "whole.tar.gz")
    whole = (tmp_path / "whole.tar.gz").read_bytes()
    target.write_bytes(damaged(whole, at, change, cut))
    new = tmp_path / "new"
    told_or_read(restore, ServingConfig(home=new, products=new / "products"), target)
    shutil.rmtree(new)
