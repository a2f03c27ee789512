"""Masks over REST: what a click means, what is kept of it, what is refused, who may."""

import io
from concurrent.futures import Future

import numpy as np
import pytest
from PIL import Image

from anomalyst.io.masks import packed, unpacked
from anomalyst.segmentation.grabcut import GrabCut
from anomalyst.server.auth import make_key, revoke_key
from anomalyst.server.config import ServingConfig
from anomalyst.server.jobs.queue import ProcessQueue
from anomalyst.server.jobs.tasks import Inspect, Segment
from anomalyst.server.records.judged import judgements
from anomalyst.server.storage.preferences import rankings
from anomalyst.server.storage.tables import CorrectionRow, InspectionRow
from anomalyst.types import Mask
from serving import DEFECT, client_of, send, service_over

API = "/api/v1"
CRACK = {"points_xy": [[68.0, 120.0]], "labels": [1], "box_xyxy": [50, 40, 100, 240]}


@pytest.fixture(scope="module")
def path(client) -> str:
    """Of an inspection of 256 x 256 pixels; each test takes back what it keeps there."""
    return f"{API}/inspections/{send(client, DEFECT.read_bytes()).json()['id']}"


def rle(box=(40, 40, 90, 60), size_hw=(256, 256)) -> dict:
    mask = np.zeros(size_hw, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return packed(mask).as_dict()


def whole(answer: dict) -> np.ndarray:
    return unpacked(Mask.from_dict(answer["mask"]))


def test_a_click_in_a_box_gives_a_mask_and_the_view_is_looked_at_once(client, path):
    first = client.post(f"{path}/segment", json=CRACK)
    assert first.status_code == 200, first.text
    [best, *others] = first.json()["candidates"]
    mask = whole(best)
    assert mask[120, 68] and mask[40:240, 50:100].sum() > 0.9 * mask.sum() and len(others) <= 2
    assert 0 <= best["iou"] <= 1 and first.json()["encode_ms"] > 0
    again = client.post(f"{path}/segment", json=CRACK).json()
    assert again["encode_ms"] <= 0.1 and again["candidates"] == first.json()["candidates"]
    half = {**CRACK, "view_xyxy": [40, 30, 110, 130]}
    seen = whole(client.post(f"{path}/segment", json=half).json()["candidates"][0])
    assert seen.any() and not seen[130:].any()  # nothing is said of what was not looked at
    ahead = client.post(f"{path}/segment", json={"ahead": True}).json()
    assert ahead["candidates"] == []


def test_a_mask_so_far_is_a_prompt(client, path):
    in_the_hole = {"mask": rle((95, 95, 160, 160))}  # alone: without it nothing would be asked
    mask = whole(client.post(f"{path}/segment", json=in_the_hole).json()["candidates"][0])
    assert mask[127, 127] and not mask[5, 5]


REFUSED = {
    "nothing": ({}, "nothing was asked"),
    "outside": ({"points_xy": [[300, 5]], "labels": [1]}, "outside the picture"),
    "no label": ({"points_xy": [[30, 5]]}, "1 points and 0 labels"),
    "contradiction": ({"points_xy": [[9, 9], [9.2, 9]], "labels": [1, 0]}, "on the thing and"),
    "empty box": ({"box_xyxy": [50, 50, 50, 90]}, "holds no pixel"),
    "size": ({"mask": rle(size_hw=(100, 256))}, "256 x 100 pixels, the picture 256 x 256"),
    "huge": ({"mask": {"size": [10**9, 10**9], "counts": "0"}}, "they must be equal"),
    "letters": ({"mask": {"size": [256, 256], "counts": "\u00e9"}}, "COCO"),
    "runs": ({"mask": {"size": [256, 256], "counts": "11"}}, "run lengths fill"),
    "view": ({**CRACK, "view_xyxy": [250, 0, 300, 99]}, "is no part of the picture"),
    "sliver": ({**CRACK, "view_xyxy": [60, 0, 61, 99]}, "at least 16 apart"),
    "not a number": ({"points_xy": [["x", 5]], "labels": [1]}, "valid number"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_meant_is_refused_in_a_sentence(client, path, why):
    asked, sentence = REFUSED[why]
    answer = client.post(f"{path}/segment", json=asked)
    assert answer.status_code == 422 and sentence in answer.json()["detail"], answer.text


def test_pictures_that_are_gone_waiting_or_none_take_no_masks(client, path, service):
    row = service.store.inspection(path.rsplit("/", 1)[1])

    def another(**changed) -> str:
        names = ("product", "picture", "name", "source", "by", "owner", "false_alarm_rate",
                 "verdict", "record", "state")  # fmt: skip
        made = InspectionRow(**{name: getattr(row, name) for name in names} | changed)
        return f"{API}/inspections/{service.store.acknowledge([made], None)[0]}"

    sound = another(record=(row.record or {}) | {"sense": "audio"})
    for where, status, sentence in (
        (another(picture="00deleted.png"), 404, "no longer kept"),
        (another(state="failed"), 409, "only one that is done"),
        (sound, 422, "masks are drawn on photographs"),
        (f"{API}/inspections/none", 404, "no inspection"),
    ):
        for action, body in (("segment", CRACK), ("masks", {"mask": rle()})):
            answer = client.post(f"{where}/{action}", json=body)
            assert answer.status_code == status and sentence in answer.text, answer.text
    assert client.get(f"{sound}/view.jpg").status_code == 422


def test_a_defect_that_is_drawn_judges_the_verdict_and_a_part_does_not(client, path, service):
    part = {"mask": rle((0, 0, 200, 200)), "what": "part", "label": "disc"}
    kept = client.post(f"{path}/masks", json=part)
    assert kept.status_code == 201, kept.text
    assert client.get(path).json()["reviewed"] is None
    assert judgements(service.store, "flange").spoiled == []
    assert list(rankings(service.store, "flange")) == []
    said = {
        "mask": rle(), "label": " scratch ", "tools": ["click", "brush", "click"], "iou": 0.75,
        "prompts": CRACK,
    }  # fmt: skip
    defect = client.post(f"{path}/masks", json=said).json()
    assert client.get(path).json()["reviewed"] == "right"
    [spoiled] = judgements(service.store, "flange").spoiled
    [first, second] = client.get(f"{path}/masks").json()
    assert (first["what"], first["label"], first["area_px"]) == ("part", "disc", 40_000)
    assert second == defect and second["by"] == "local" and second["created_at"]
    assert second["label"] == "scratch" and second["tools"] == ["click", "brush"]
    assert second["iou"] == 0.75 and second["prompts"]["points_xy"] == CRACK["points_xy"]
    assert second["mask"] == rle() and second["area_px"] == 1000
    [row] = [one for one in client.get(f"{path}/feedback").json() if one["id"] == defect["id"]]
    assert row["detail"]["boxes_xyxy"] == [[40, 40, 90, 60]]
    kept_file = np.asarray(Image.open(service.pictures.path(spoiled.masks[0])))
    assert (kept_file > 127).sum() == 1000  # what it would be taught with: not the part's
    client.post(f"{API}/feedback/{defect['id']}/undo")
    assert [one["id"] for one in client.get(f"{path}/masks").json()] == [first["id"]]
    assert client.get(path).json()["reviewed"] is None
    client.post(f"{API}/feedback/{first['id']}/undo")


def test_masks_that_cannot_be_kept_are_refused(client, path):
    bad = {
        "empty": ({"mask": packed(np.zeros((256, 256), bool)).as_dict()}, "the mask is empty"),
        "size": ({"mask": rle(size_hw=(255, 256))}, "256 x 255 pixels, the picture 256 x 256"),
        "what": ({"mask": rle(), "what": "thing"}, "'defect' or 'part'"),
        "label": ({"mask": rle(), "label": "x" * 81}, "80"),
        "tool": ({"mask": rle(), "tools": ["axe"]}, "'click', 'box'"),
    }
    for asked, sentence in bad.values():
        answer = client.post(f"{path}/masks", json=asked)
        assert answer.status_code == 422 and sentence in answer.json()["detail"], answer.text
    assert client.get(f"{path}/masks").json() == []


def test_masks_painted_before_labels_were_kept_still_show_the_defect(client, path, service):
    painted = io.BytesIO()
    pixels = np.zeros((256, 256), np.uint8)
    pixels[10:20, 10:30] = 255
    Image.fromarray(pixels).save(painted, "PNG")
    id = client.post(f"{path}/mask", files={"mask": ("m.png", painted.getvalue())}).json()["id"]
    before = ("mask", "verdict", "boxes_xyxy")  # all that such a correction held
    detail = {name: service.store.correction(id).detail[name] for name in before}
    service.store.set_values(CorrectionRow, id, detail=detail)
    [one] = client.get(f"{path}/masks").json()
    assert one["what"] == "defect" and one["label"] == "" and one["area_px"] == 200
    assert whole(one)[10:20, 10:30].all()
    client.post(f"{API}/feedback/{id}/undo")


def test_the_picture_comes_in_views_of_at_most_1600_pixels(client):
    large = io.BytesIO()
    Image.open(DEFECT).resize((2400, 1800)).save(large, "JPEG")
    path = f"{API}/inspections/{send(client, large.getvalue()).json()['id']}"
    for box, size in (("", (1600, 1200)), ("?x0=100&y0=200&x1=900&y1=700", (800, 500))):
        answer = client.get(f"{path}/view.jpg{box}")
        assert Image.open(io.BytesIO(answer.content)).size == size
    assert client.get(f"{path}/view.jpg?x0=1").status_code == 422
    assert client.get(f"{path}/view.jpg?x0=0&y0=0&x1=9999&y1=50").status_code == 422


def test_views_that_were_not_used_for_long_are_looked_at_again():
    from anomalyst.server.jobs.looks import LOOKS_MOST, Looks

    looks, seen = Looks(GrabCut()), []
    look = looks.segmenter.look
    looks.segmenter.look = lambda picture, view: seen.append(view) or look(picture, view)
    views = [(0, 0, 100 + i, 100) for i in range(LOOKS_MOST)]
    for view in (*views, views[0], (5, 5, 99, 99), views[0], views[1]):
        looks.segment(Segment(image=DEFECT, view=view, ahead=True))
    assert seen == [*views, (5, 5, 99, 99), views[1]]  # the newest used stay


def test_a_click_goes_before_inspections_and_after_other_clicks(tmp_path, monkeypatch):
    monkeypatch.setattr(ProcessQueue, "start", lambda _: None)
    queue = ProcessQueue(ServingConfig(home=tmp_path))
    slow = Inspect(image=DEFECT, product="flange", false_alarm_rate=0.05)
    clicks = [Segment(image=DEFECT, points_xy=((i, i),), positive=(True,)) for i in range(2)]
    for task in (slow, clicks[0], slow, clicks[1]):
        assert isinstance(queue.submit(task), Future)
    assert [one.task for one in queue._queue] == [*clicks, slow, slow]


def test_a_page_asks_with_a_pass_that_dies_with_its_key(tmp_path):
    with service_over(tmp_path, keys=True) as service, client_of(service) as client:
        make_key(service.store, "ann", "operator")
        who = service.tickets  # as the page gets it for whoever signed in
        from anomalyst.server.auth import caller_called

        ann = caller_called(service.store, "ann")
        own = who.page_pass(ann)
        assert who.page_pass(ann) == own
        path, headers = f"{API}/inspections/x/segment", {"X-Page-Pass": own}
        assert client.post(path, json=CRACK, headers=headers).status_code == 404  # let in
        assert client.post(path, json=CRACK).status_code == 401
        assert client.post(f"{path}?ticket={own}", json=CRACK).status_code == 401
        abroad = headers | {"Origin": "http://elsewhere.example"}
        assert client.post(path, json=CRACK, headers=abroad).status_code == 403
        undo = client.post(f"{API}/feedback/x/undo", json={}, headers=headers)
        assert undo.status_code == 403  # the pass has the role of its holder, no more
        revoke_key(service.store, "ann")
        assert client.post(path, json=CRACK, headers=headers).status_code == 401


def test_a_segmenter_that_is_none_is_refused_before_the_server_starts(refused, tmp_path):
    said = refused("serve", "--segmenter", "sma", "--home", tmp_path / "new")
    assert "--segmenter sma: is none of default, grabcut, run:DIR and sam:DIR" in said
    assert not (tmp_path / "new").exists()
