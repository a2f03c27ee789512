"""Scale and rules over REST: kept by the product, shown with its inspections, refused in words."""

import pytest

from anomalyst.server.records import documents
from anomalyst.server.ui import components
from serving import DEFECT, send

GOOD_PICTURES = 2  # that the service's product is taught from
PATH = "/api/v1/products/flange/measuring"
SCALE = {"points_xy": [20, 128, 220, 128], "length_mm": 50}


def test_scale_and_rules_are_kept_and_what_is_inspected_is_measured(client, service):
    assert client.get(PATH).json()["scale"] is None
    said = client.put(PATH, json={"scale": SCALE}).json()
    assert said["scale"]["mm_per_px"] == 0.25 and said["rules"] == []
    said = client.put(PATH, json={"rules": ["scratch: length < 500 mm", "crack: none"]}).json()
    assert said["scale"]["mm_per_px"] == 0.25 and "one kind" in said["notes"][0]
    client.put(PATH, json={"rules": ["any: length < 500 mm"]})
    found = send(client, DEFECT.read_bytes()).json()
    record = found["record"]
    assert found["verdict"] == "normal" and record["verdict_before_rules"] in (
        "anomalous",
        "unsure",
    )
    first = record["regions"][0]["measures"]
    assert first["mm"]["length"][0] == pytest.approx(0.25 * first["px"]["length"][0], rel=1e-3)
    row = service.store.inspection(found["id"])
    page = components.viewer(service, row)
    assert "an-length" in page and "mm long" in page
    assert documents.report_pdf(row, service.pictures, [])[:5] == b"%PDF-"
    assert service.statistics("flange")["recent"][-1]["drift"] is None  # its score was an alarm
    turn = client.post(f"/api/v1/inspections/{found['id']}/turns", json={"question": "How long?"})
    assert "mm long" in turn.json()["answer"]["text"]
    assert client.put(PATH, json={"scale": None}).json()["scale"] is None


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"rules": ["scratch: lenght < 2 mm"]}, "the nearest is 'length'"),
        ({"scale": {"mm_per_px": 0}}, "greater than 0"),
        ({"scale": {"points_xy": [5, 5, 5, 5], "length_mm": 3}}, "the same"),
        ({"scale": {"points_xy": [5, 5, 50, 5]}}, "length_mm"),
        ({"ruler": 3}, "ruler"),
    ],
)
def test_what_cannot_be_is_refused_in_words(client, wanted, said):
    answer = client.put(PATH, json=wanted)
    assert answer.status_code == 422 and said in answer.text, answer.text


def test_a_product_that_is_not_there(client):
    assert client.get(PATH.replace("flange", "flnge")).status_code == 404
