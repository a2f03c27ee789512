"""Sound, sensors, depth and heat are taught and inspected as pictures are, alone or together."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from anomalyst.calibration.conformal import Calibration
from anomalyst.calibration.fusion import bonferroni
from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.inspection.parts import (
    joint_calibration,
    paired,
    part_name,
    refuse_other_part,
    sense_of_file,
    senses_of,
    sorted_by_sense,
)
from anomalyst.product import Product
from anomalyst.senses.sense import SignalSense
from anomalyst.server.storage.retention import forget_pictures
from anomalyst.server.storage.tables import now
from anomalyst.types import Inspection
from sensed import curve, depth, sound
from serving import client_of, send, service_over

run = CliRunner().invoke


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """Files of 21 good parts and three others, of which the last two are not."""
    folder, rng = tmp_path_factory.mktemp("line"), np.random.default_rng(1)
    for kind in ("good", "new"):
        for sense in ("sound", "curve", "depth"):
            (folder / kind / sense).mkdir(parents=True)
    for i in range(21):
        sound(folder / f"good/sound/p{i:02d}.wav", rng)
        curve(folder / f"good/curve/p{i:02d}.csv", rng)
    for i in range(3):
        sound(folder / f"new/sound/n{i}.wav", rng, knock=i == 1)
        curve(folder / f"new/curve/n{i}.csv", rng, step=i == 2)
    for i in range(4):
        depth(folder / f"good/depth/p{i:02d}_depth.png", rng)
    for i in range(2):
        depth(folder / f"new/depth/n{i}_depth.png", rng, dent=i == 1)
    return folder


@pytest.fixture(scope="module")
def taught(line, tmp_path_factory):
    """Products taught from sound, from curves, from both, and from depth, on the command line."""
    products = tmp_path_factory.mktemp("products")
    where = ["--products", str(products)]
    sounds = [str(p) for p in sorted((line / "good/sound").iterdir())]
    for name, files in {
        "fan": ["--audio", *sounds],  # as a shell writes good/*.wav
        "press": ["--series", str(line / "good/curve")],
        "both": ["--audio", str(line / "good/sound"), "--series", str(line / "good/curve")],
        "disc": ["--depth", str(line / "good/depth")],
    }.items():
        result = run(app, ["teach", name, *files, *where])
        assert result.exit_code == 0, result.output
    return products


def inspected(name, products, *files) -> dict[str, dict]:
    result = run(app, ["inspect", "--product", name, "--products", str(products), "--json", *files])
    assert result.exit_code == 0, result.output
    found = [json.loads(row) for row in result.stdout.splitlines() if row.startswith("{")]
    return {row["image"].rpartition("/")[2].split(".")[0]: row for row in found}


def test_a_knock_is_heard_where_it_is(line, taught):
    found = inspected("fan", taught, str(line / "new/sound"))
    assert found["n1"]["verdict"] == "anomalous"
    assert found["n1"]["score"] > max(found[n]["score"] for n in ("n0", "n2"))
    assert found["n1"]["guaranteed"] and found["n1"]["sense"] == "audio"
    begin, _, end = found["n1"]["regions"][0]["where"].split()[:3]
    assert float(begin) < 0.33 < float(end)  # the knock lies at 0.30 to 0.35 s
    assert any("resampled from 8 to 16 kHz" in note for note in found["n1"]["notes"])


def test_a_step_is_seen_in_its_channel_and_the_report_shows_it(line, taught, tmp_path):
    found = inspected("press", taught, "--series", str(line / "new/curve"))
    assert found["n2"]["verdict"] == "anomalous"
    assert found["n2"]["score"] > max(found[n]["score"] for n in ("n0", "n1"))
    assert "torque" in found["n2"]["regions"][0]["where"]
    files = [str(line / "new/curve"), "--out", str(tmp_path), "--products", str(taught)]
    result = run(app, ["inspect", *files, "--product", "press"])
    assert result.exit_code == 0 and (tmp_path / "n2.png").is_file()
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/jpeg") >= 6 and "could not be used" not in page


@pytest.mark.parametrize("method", ["limits", "ewma", "cusum", "matrix_profile"])
def test_a_method_of_time_series_may_judge_instead(line, tmp_path, method):
    where = ["--products", str(tmp_path)]
    files = ["--series", str(line / "good/curve"), "--method", method]
    assert run(app, ["teach", "press", *files, *where]).exit_code == 0
    found = inspected("press", tmp_path, str(line / "new/curve"))
    assert found["n2"]["score"] > max(found[n]["score"] for n in ("n0", "n1"))
    assert found["n2"]["verdict"] == "anomalous"
    begin, _, end = found["n2"]["regions"][0]["where"].split()[:3]
    assert float(begin) < 8.2 and float(end) > 5.8  # the step lies at 6 to 8 s


def test_a_method_that_is_none_or_for_another_sense_is_refused(line, tmp_path):
    files = ["teach", "fan", "--audio", str(line / "good/sound"), "--products", str(tmp_path)]
    for method, said in (
        ("lstn", "the nearest is 'lstm'"),
        ("ewma", "--method ewma is of sensors over time"),
    ):
        result = run(app, [*files, "--method", method])
        assert isinstance(result.exception, AnomalystError) and said in str(result.exception)


def test_a_dent_is_seen_by_depth(line, taught):
    found = inspected("disc", taught, str(line / "new/depth"))
    assert found["n1_depth"]["score"] > found["n0_depth"]["score"]
    x0, y0, x1, y1 = found["n1_depth"]["regions"][0]["box_xyxy"]
    assert x0 < 95 < x1 and y0 < 45 < y1
    view = Product.load(taught / "disc").field_view
    assert view is not None and view.low < 4800 < 5000 < view.high


def test_several_senses_of_one_part_give_one_verdict(line, taught, tmp_path):
    new = ["--audio", str(line / "new/sound"), "--series", str(line / "new/curve")]
    found = inspected("both", taught, *new)
    assert found["n1"]["verdict"] == found["n2"]["verdict"] == "anomalous"
    assert found["n0"]["score"] < min(found[n]["score"] for n in ("n1", "n2"))
    assert found["n1"]["sense"] == "audio+series" and found["n1"]["guaranteed"]
    assert [one["sense"] for one in found["n1"]["senses"]] == ["audio", "series"]
    assert found["n1"]["answer"].startswith("Anomalous by sound (0.")
    assert "by sensors (" in found["n2"]["answer"]
    product = Product.load(taught / "both")
    assert product.joint is not None and len(product.joint.scores) == 21
    product.save(tmp_path / "copy")
    assert set(senses_of(Product.load(tmp_path / "copy"))) == {"audio", "series"}


def test_files_that_are_not_of_one_part_are_refused(line, taught, inspector, tmp_path):
    with pytest.raises(AnomalystError, match=r"part 'n2' has no depth file"):
        paired(
            {"audio": [*(line / "new/sound").iterdir()], "depth": [*(line / "new/depth").iterdir()]}
        )
    assert part_name(tmp_path / "p07_depth.png", "depth") == "p07"
    product = Product.load(taught / "both")
    with pytest.raises(
        AnomalystError, match="was taught with audio and series; the part has audio"
    ):
        inspector.inspect_part({"audio": line / "new/sound/n0.wav"}, product)
    result = run(
        app, ["inspect", "--product", "both", "--products", str(taught), "--audio", "x.wav"]
    )
    assert result.exception is not None and "was taught with audio and series" in str(
        result.exception
    )
    stamped = "time,torque,temperature\n" + "\n".join(
        f"2026-01-01 00:00:{k / 10:04.1f},{np.sin(k / 6):.3f},{20 + k % 3}" for k in range(120)
    )
    for name, hour in (("a", "08"), ("b", "11")):
        (tmp_path / f"{name}.csv").write_text(stamped.replace("01-01 00", f"01-01 {hour}"))
    times = {n: SignalSense(kind="series").read(tmp_path / f"{n}.csv").began for n in "ab"}
    with pytest.raises(PictureError, match="was recorded 180 minutes after a.csv"):
        refuse_other_part({n: tmp_path / f"{n}.csv" for n in "ab"}, times)


def test_dropped_files_find_their_parts(tmp_path):
    names = ["a.png", "a_depth.png", "a.wav", "b.png", "b-depth.tif", "b.wav"]
    found = sorted_by_sense([tmp_path / n for n in names], ["image", "depth", "audio"])
    assert [{s: p.name for s, p in part.items()} for part in found] == [
        {"image": "a.png", "depth": "a_depth.png", "audio": "a.wav"},
        {"image": "b.png", "depth": "b-depth.tif", "audio": "b.wav"},
    ]
    with pytest.raises(AnomalystError, match="a.png: may be depth or thermal; call it as in p07_"):
        sense_of_file(tmp_path / "a.png", ["depth", "thermal"])
    with pytest.raises(AnomalystError, match=r"a.wav: is of none of image, depth"):
        sense_of_file(tmp_path / "a.wav", ["image", "depth"])


def test_a_bad_file_is_listed_and_the_others_go_on(line, taught, tmp_path):
    files = [tmp_path / "empty.wav", tmp_path / "text.wav", line / "new/sound/n0.wav"]
    files[0].touch()
    files[1].write_text("no sound")
    result = run(
        app, ["inspect", *map(str, files), "--product", "fan", "--products", str(taught), "--json"]
    )
    assert result.exit_code == 2 and result.stdout.count('"verdict"') == 1
    assert "empty.wav: is an empty file" in result.output
    assert "text.wav: is not a sound we can read" in result.output


def test_the_fused_verdict_keeps_its_rate_over_drawn_products():
    """200 products of two senses; what is inspected is as good as what calibrates."""
    rng = np.random.default_rng(0)
    joint, apart = [], []
    for _ in range(200):
        both = [Drawn(rng, 59) for _ in range(2)]
        taught = joint_calibration({f"s{i}": one.product for i, one in enumerate(both)})
        for k in range(39, 59):
            scores = {f"s{i}": one.scores[k] for i, one in enumerate(both)}
            joint.append(taught.p_value(scores) <= 0.05)
            apart.append(
                bonferroni([one.product.calibration.p_value(one.scores[k]) for one in both]) <= 0.05
            )
    error = 2 * np.sqrt(0.05 * 0.95 / len(joint)) * 2  # parts of one product share its calibration
    assert abs(np.mean(joint) - 0.05) <= error
    assert np.mean(apart) <= 0.05 + error


class Drawn:
    """Scores of good parts, the first 39 of which calibrate."""

    def __init__(self, rng, count: int):
        self.scores = tuple(rng.gamma(2, size=count))
        first = self.scores[:39]
        self.product = Product(
            name="drawn", encoder="spectrum", fingerprint="", frame=None, pose="fixed",
            references=[], features=[], calibration=Calibration(scores=first, method="split"),
            calibrated_by=first,
        )  # fmt: skip


def test_the_workbench_takes_recordings_of_a_product_taught_so(line, taught, tmp_path):
    home = tmp_path / "home"
    Product.load(taught / "fan").save(home / "products" / "fan")
    Product.load(taught / "both").save(home / "products" / "both")
    with service_over(home) as service, client_of(service) as client:
        data = (line / "new/sound/n1.wav").read_bytes()
        found = send(client, data, "n1.wav", "fan")
        assert found.status_code == 201 and found.json()["verdict"] == "anomalous", found.text
        id = found.json()["id"]
        shown = client.get(f"/api/v1/inspections/{id}/overlay.png")
        assert shown.status_code == 200 and shown.content.startswith(b"\x89PNG")
        assert client.get(f"/api/v1/inspections/{id}/report.pdf").status_code == 200
        refused = client.post(f"/api/v1/inspections/{id}/turns", json={"question": "Where?"})
        assert refused.status_code == 422 and "about photographs" in refused.text
        bad = send(client, b"no sound", "bad.wav", "fan")
        assert bad.status_code == 422 and "is not a sound we can read" in bad.text
        alone = send(client, data, "n1.wav", "both")
        assert alone.status_code == 422 and "taught with audio and series" in alone.text
        table = (line / "new/curve/n1.csv").read_bytes()
        files = {"picture": ("n1.wav", data), "series": ("n1.csv", table)}
        both = client.post("/api/v1/inspections", data={"product": "both"}, files=files)
        assert both.status_code == 201, both.text
        assert [one["sense"] for one in both.json()["record"]["senses"]] == ["audio", "series"]
        forget_pictures(service.store, now())  # what a record names stays, of all senses
        assert client.get(f"/api/v1/inspections/{both.json()['id']}/overlay.png").status_code == 200


def test_a_record_of_several_senses_is_read_again(line, taught, inspector):
    files = {"audio": line / "new/sound/n1.wav", "series": line / "new/curve/n1.csv"}
    found = inspector.inspect_part(files, Product.load(taught / "both"))
    again = Inspection.from_dict(json.loads(json.dumps(found.as_dict())), found.map, {})
    assert (
        again.senses[0].file == files["audio"] and again.regions[0].where == found.regions[0].where
    )
