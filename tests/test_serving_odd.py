"""Odd good pictures in the workbench: shown, left out or kept."""

import cv2
import numpy as np

from anomalyst.server.ui.odd_section import shown
from serving import client_of, service_over
from test_odd_pictures import write_good


class Bench:
    """What the section asks of the workbench."""

    def __init__(self, service):
        self.service = service


def test_a_defective_good_picture_is_shown_and_left_out_or_kept(tmp_path):
    folder = tmp_path / "good"
    folder.mkdir()
    paths = sorted(write_good(folder).glob("*.png"))
    with service_over(tmp_path / "home") as service, client_of(service) as client:
        sent = [service.take_file(path) for path in paths]
        found = service.teach("bolt", sent, by="test")
        [odd] = found["odd"]
        assert odd["name"] == "defective.png" and odd["number"] == 1 and not odd["kept"]
        assert "defective.png at the" in found["notes"][-1]
        drawn = client.get("/api/v1/products/bolt/odd/1")
        picture = cv2.imdecode(np.frombuffer(drawn.content, np.uint8), cv2.IMREAD_COLOR)
        assert drawn.status_code == 200 and picture.shape[:2] == (96, 96)
        group, said, pictures, ticked = shown(Bench(service), "bolt")
        assert group.visible and "One good picture looks odd" in said and len(pictures) == 1
        assert [number for _, number in ticked.choices] == [1]
        wrong = client.post("/api/v1/products/bolt/odd", json={"leave_out": [2]})
        assert wrong.status_code == 422 and "none of those that look odd (1)" in wrong.text
        assert client.post("/api/v1/products/bolt/odd", json={}).status_code == 422
        row = service.wait(service.acknowledge([sent[1]], "bolt", by="test", source="api")[0])
        assert row.severity == row.record["severity"]["spreads"]
        assert "looks odd beside the others" in row.record["notes"][0]
        kept = client.post("/api/v1/products/bolt/odd", json={"keep": [1]}).json()
        assert kept["odd"][0]["kept"] and not any("odd" in note for note in kept["notes"])
        assert not shown(Bench(service), "bolt")[0].visible
        assert client.get("/api/v1/products/bolt/odd/1").status_code == 404
        left = service.decide_odd("bolt", leave_out=[1], by="test")
        assert "defective.png" not in left["references"] and len(left["references"]) == 8
        assert [one.kind for one in service.store.changes("bolt")][:2] == ["odd", "odd"]
