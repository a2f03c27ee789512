"""Products of other senses over REST and the client: taught, added to, carried, refused."""

import os
import signal
import threading

import numpy as np
import pytest

from anomalyst.errors import AnomalystError
from anomalyst.inspection.file_reading import FileReading
from anomalyst.product import Product
from anomalyst.senses.sense import SignalSense
from anomalyst.server.received import take_paths
from anomalyst.server.records.products import good_views, summary
from sensed import curve, depth, sound
from serving import client_of, job_of, service_over, taught

API = "/api/v1"


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Files of five parts by sound, curve and depth: sense -> their paths."""
    folder, rng = tmp_path_factory.mktemp("parts"), np.random.default_rng(3)
    return {
        "audio": [sound(folder / f"p{i}.wav", rng) for i in range(5)],
        "series": [curve(folder / f"p{i}.csv", rng) for i in range(5)],
        "depth": [depth(folder / f"p{i}_depth.png", rng) for i in range(5)],
    }


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with service_over(tmp_path_factory.mktemp("bench")) as found:
        yield found


@pytest.fixture(scope="module")
def client(service):
    with client_of(service) as found:
        yield found


def post(client, path, parts, numbers, *senses, **data):
    """POST the files of some parts by some senses."""
    files = [(s, (parts[s][i].name, parts[s][i].read_bytes())) for s in senses for i in numbers]
    return client.post(f"{API}/{path}", data=data, files=files)


@pytest.fixture(scope="module")
def fan(client, parts):
    answer = post(client, "products", parts, range(3), "audio", name="fan")
    return taught(client, answer)


@pytest.fixture(scope="module")
def seal(client, parts):
    """A product of two senses."""
    answer = post(client, "products", parts, range(3), "depth", "series", name="seal")
    return taught(client, answer)


def test_a_sound_product_is_taught_and_added_to_over_rest(client, parts, fan):
    assert fan["senses"] == ["audio"] and fan["references"] == ["p0.wav", "p1.wav", "p2.wav"]
    assert "resampled from 8 to 16 kHz" in fan["notes"][0]
    known = taught(client, post(client, "products/fan/references", parts, [0], "audio"))
    assert known["references"] == fan["references"]
    assert known["calibration"] == fan["calibration"]
    more = taught(client, post(client, "products/fan/references", parts, [0, 3], "audio"))
    assert more["references"] == ["p0.wav", "p1.wav", "p2.wav", "p3.wav"]
    with parts["audio"][4].open("rb") as file:
        found = client.post(
            f"{API}/inspections", data={"product": "fan"}, files={"audio": ("new.wav", file)}
        )
    assert found.status_code == 201 and found.json()["name"] == "new.wav", found.text
    id = found.json()["id"]
    fine = client.post(f"{API}/inspections/{id}/feedback",
                       json={"kind": "fine", "boxes_xyxy": [[100, 0, 200, 50]]})  # fmt: skip
    assert fine.status_code == 422 and "teach this part as a further good one" in fine.text
    learnt = client.post(f"{API}/products/fan/learn")
    assert learnt.status_code == 409, learnt.text


def test_a_product_of_two_senses_is_taught_over_rest(client, service, parts, seal):
    assert seal["senses"] == ["depth", "series"]
    product = Product.load(service.config.products / "seal")
    assert product.joint is not None and product.joint.senses == ("depth", "series")
    # What the page compares new scores with is of both together, and so is a new part's.
    assert seal["calibration"]["scores"] == pytest.approx(product.joint.good_scores())
    answer = post(client, "products/seal/references", parts, [2, 3], "depth", "series")
    more = taught(client, answer)
    assert len(more["references"]) == 4
    found = post(client, "inspections", parts, [4], "depth", "series", product="seal").json()
    assert [one["sense"] for one in found["record"]["senses"]] == ["depth", "series"]
    views = good_views("seal", service.config.products, most=3)
    assert [name for _, name in views] == ["p0_depth.png", "p0.csv", "p1_depth.png"]
    assert all(view.ndim == 3 and view.shape[2] == 3 for view, _ in views)


@pytest.mark.usefixtures("fan", "seal")
def test_what_does_not_fit_a_product_is_refused_in_a_sentence(client, parts):
    def refused(path, numbers, *senses, **data):
        answer = post(client, path, parts, numbers, *senses, **data)
        assert answer.headers["content-type"] == "application/problem+json"
        return answer.status_code, answer.json()["detail"]

    assert refused("products", [0], "depth", "series", name="fan")[0] == 409
    assert refused("products/fan/references", [4], "series") == (
        422, "p4.csv: product 'fan' was taught with audio; the part has series. Give audio."
    )  # fmt: skip
    lack = refused("products/seal/references", [4], "depth")
    assert lack == (422, "p4_depth.png: product 'seal' was taught with depth and series; the part "
                         "has depth. Give depth and series.")  # fmt: skip
    unit = refused("products/seal/references", [4], "depth", "series", depth_unit="um")
    assert unit[0] == 422 and "--depth-unit um: the product was taught with mm" in unit[1]
    method = refused("products", [0], "audio", name="x", method="ewma")
    assert method[0] == 422 and "give --series files" in method[1]
    files = [("thermal", ("p0.png", parts["depth"][0].read_bytes()))]
    heat = client.post(f"{API}/products", data={"name": "x"}, files=files)
    assert heat.status_code == 422 and "say which one they hold, C, K, cK" in heat.json()["detail"]
    twice = [("audio", ("a.wav", b"1")), ("audio", ("a.wav", b"2")), ("series", ("a.csv", b"3"))]
    same = client.post(f"{API}/products", data={"name": "x"}, files=twice)
    assert same.status_code == 422 and "two audio files have this name" in same.json()["detail"]
    other = [("audio", ("a.m4a", b"1"))]
    kind = client.post(f"{API}/products", data={"name": "x"}, files=other)
    assert kind.status_code == 422 and "a.m4a: is no audio file by its name" in kind.text
    broken = client.post(
        f"{API}/products", data={"name": "x"}, files=[("audio", ("a.wav", b"no sound"))]
    )
    failed = job_of(client, broken, "failed")["problem"]
    assert failed.startswith("a.wav: is not a sound we can read")
    half = [
        ("depth", ("p0_depth.png", parts["depth"][0].read_bytes())),
        ("series", ("p0.csv", parts["series"][4].read_bytes())),
    ]
    mixed = job_of(client, client.post(f"{API}/products/seal/references", files=half), "failed")
    assert "with another series file than p0.csv" in mixed["problem"]


@pytest.mark.usefixtures("seal")
def test_a_product_of_two_senses_is_carried_whole(client, parts):
    packed = client.get(f"{API}/products/seal/export").content
    answer = client.post(f"{API}/products/import", data={"name": "lid"}, files={"file": packed})
    assert answer.status_code == 201, answer.text
    assert answer.json()["senses"] == ["depth", "series"]
    found = post(client, "inspections", parts, [4], "depth", "series", product="lid")
    assert found.status_code == 201, found.text


def test_teaching_goes_on_when_the_model_process_is_killed(service, parts):
    killed = threading.Event()

    def kill(_: str) -> None:
        if not killed.is_set():
            killed.set()
            os.kill(service.queue.aside.pid, signal.SIGKILL)

    both = [{s: parts[s][i] for s in ("audio", "series")} for i in range(3)]
    sent = [one for one in take_paths(service.pictures, both) if not isinstance(one, str)]
    found = service.teach("killed", sent, by="test", say=kill)
    assert killed.is_set() and found["references"] == ["p0.wav", "p1.wav", "p2.wav"]
    assert summary("killed", service.config.products)["senses"] == ["audio", "series"]
    assert [row.kind for row in service.store.changes("killed", 9)] == ["taught"]


def test_a_part_with_a_bad_file_is_left_out_of_all_senses(inspector, parts, tmp_path):
    bad = tmp_path / "p1.wav"
    bad.write_bytes(b"no sound")
    sounds = [parts["audio"][0], bad, *parts["audio"][2:]]
    good = [{"audio": a, "series": s} for a, s in zip(sounds, parts["series"], strict=True)]
    product = inspector.teach_part("both", good)
    names = [path.stem for path in product.references]
    assert names == [path.stem for path in product.companions["series"].references]
    assert names == ["p0", "p2", "p3", "p4"] and product.joint is not None
    assert "p1.wav: is not a sound we can read" in product.notes[0]


def test_recordings_of_two_rates_are_not_one_product(parts, tmp_path):
    table = parts["series"][0].read_text().splitlines()
    fast = [",".join([f"{float(row.split(',')[0]) / 2}", *row.split(",")[1:]]) for row in table[1:]]
    (tmp_path / "fast.csv").write_text("\n".join([table[0], *fast]))
    sense = SignalSense(kind="series")
    both = [sense.read(path) for path in (parts["series"][0], tmp_path / "fast.csv")]
    with pytest.raises(AnomalystError, match="hold 10 and 20 samples a second; all need the same"):
        sense.fitted(both)


def test_more_files_are_read_as_the_first_were():
    taught = {"series": SignalSense(kind="series", rate_hz=10.02, method="ewma")}
    assert FileReading().senses(["series"], taught) == taught
    assert FileReading(rate_hz=10, method="ewma").senses(["series"], taught) == taught
    for said, sentence in (
        (FileReading(rate_hz=20), "--rate 20: the product was taught with 10.02"),
        (FileReading(method="cusum"), "--method cusum: the product was taught with ewma"),
        (FileReading(thermal_unit="C"), "--thermal-unit C is of thermal, of which no file"),
    ):
        with pytest.raises(AnomalystError, match=sentence):
            said.senses(["series"], taught)
