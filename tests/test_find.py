"""Finding inspections and files that resemble a query: films, spaces, ranking, record, REST."""

import json
from pathlib import Path

import cv2
import numpy as np
import pandas
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from anomalyst.backbones.huggingface_families import CLIP
from anomalyst.backbones.imagebind import ImageBind
from anomalyst.backbones.imagebind.loading import save
from anomalyst.backbones.spaces import open_space
from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError, RecordingError
from anomalyst.senses.fields import FieldView
from anomalyst.senses.imagebind_inputs import film_input
from anomalyst.senses.space import SensedFile
from anomalyst.senses.video import Film, clip_frames, read_film
from anomalyst.server.finding.folders import folder_items, sense_of_name
from anomalyst.server.finding.items import LeftOut, Readings
from anomalyst.server.finding.ranking import nearest_first
from anomalyst.server.finding.search import Kept, Query, search
from anomalyst.server.finding.vectors import Vectors
from anomalyst.server.received import take_part
from anomalyst.synthetic.senses import make_sensed_part
from sensed import curve, sound
from serving import DEFECT, FLANGE, GOOD, client_of, service_over, teach_flange
from test_baselines_text import save_clip
from test_imagebind import TINY

pytestmark = pytest.mark.usefixtures("one_thread")
run = CliRunner().invoke


def film(path: Path, frames: int, rate: float = 10.0, size_wh: tuple[int, int] = (64, 48)) -> Path:
    """A film whose frame n is grey, as bright as 4 n."""
    code = cv2.VideoWriter_fourcc(*"MJPG")  # each frame by itself: brightness stays exact
    writer = cv2.VideoWriter(str(path), code, rate, size_wh)
    for number in range(frames):
        writer.write(np.full((size_wh[1], size_wh[0], 3), 4 * number, np.uint8))
    writer.release()
    return path


def test_a_film_is_five_pairs_of_frames_two_seconds_apart(tmp_path):
    # By hand: 10 s at 30 a second, clips begin at 0, 2, 4, 6, 8 s.
    assert clip_frames(300, 30.0) == [(0, 59), (60, 119), (120, 179), (180, 239), (240, 299)]
    # As the sampler and the reader that the published code uses gave it, in floats.
    assert clip_frames(186, 25.0) == [(0, 49), (34, 84), (68, 118), (102, 151), (136, 185)]
    assert clip_frames(75, 30000 / 1001)[-1][1] == 74
    found = read_film(film(tmp_path / "a.avi", 40))  # 4 s: 0 to 2, 0.5 to 2.5, ... s
    assert found.clips.shape == (5, 2, 48, 64, 3) and found.seconds == 4 and not found.notes
    seen = found.clips[:, :, 20, 20, 0].astype(int) / 4
    expected = [(0, 19), (5, 24), (10, 29), (15, 34), (20, 39)]
    assert np.abs(seen - expected).max() < 0.6  # a frame beside would be 1 away


def test_a_short_film_is_one_clip_and_says_so(tmp_path):
    found = read_film(film(tmp_path / "a.avi", 12))
    assert found.clips.shape[:2] == (1, 2) and "lasts 1.2 s: one clip" in found.notes[0]


def test_what_is_no_film_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("no film")
    whole = film(tmp_path / "whole.avi", 60).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    cv2.imwrite(str(tmp_path / "still.png"), np.zeros((32, 32, 3), np.uint8))
    for name, said in {
        "nothing.mp4": "there is no such file",
        "": "is a folder",
        "empty.mp4": "is an empty file",
        "text.mp4": "is not a film we can read",
        "still.png": "shows 1 frames, 0.04 s",
    }.items():
        with pytest.raises(RecordingError, match=said):
            read_film(tmp_path / name)
    with pytest.raises(RecordingError, match="shows 4 frames, 0.4 s; at least 0.5 s"):
        read_film(film(tmp_path / "short.avi", 4))
    cut = read_film(tmp_path / "cut.avi")  # what can be read of it is used, and said
    assert cut.seconds < 4 and cut.notes[0].endswith("of 60 frames cannot be read: the film ends "
                                                     f"after {cut.seconds:.3g} s")  # fmt: skip


def test_squares_of_a_film_lie_as_the_published_code_cuts_them():
    clips = np.random.default_rng(0).integers(0, 255, (5, 2, 16, 33, 3), dtype=np.uint8)
    values = film_input(Film(clips=clips, seconds=2.5), side_px=16).values
    assert values.shape == (15, 3, 2, 16, 16)
    mean, std = np.array(CLIP[0]), np.array(CLIP[1])
    for number in range(5):  # 33 - 16 = 17 columns to spare: 0, ceil(8.5), 17
        for square, left in enumerate((0, 9, 17)):
            plain = (clips[number, :, :, left : left + 16] / 255 - mean) / std
            got = values[3 * number + square].permute(1, 2, 3, 0).numpy()
            assert np.allclose(got, plain, atol=1e-5)


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """A drawn part by five senses, as files and as it was drawn."""
    folder, drawn = tmp_path_factory.mktemp("part"), make_sensed_part(5)
    cv2.imwrite(str(folder / "p.png"), drawn.picture[..., ::-1])
    soundfile.write(folder / "p.wav", drawn.sound, 16_000, subtype="FLOAT")
    np.save(folder / "p_depth.npy", drawn.depth_mm)
    np.save(folder / "p_thermal.npy", drawn.heat_c)
    table = pandas.DataFrame(drawn.imu, columns=["ax", "ay", "az", "gx", "gy", "gz"])
    table.assign(time=np.arange(2000) / 400).to_csv(folder / "p.csv", index=False)
    return folder, drawn


def test_files_lie_where_the_towers_put_what_was_drawn(part):
    folder, drawn = part
    space = open_space("drawn")
    fields = {k: FieldView(kind=k, unit=u) for k, u in (("depth", "mm"), ("thermal", "C"))}
    for sense, name, modality, raw in (
        ("image", "p.png", "image", drawn.picture),
        ("audio", "p.wav", "audio", drawn.sound),
        ("depth", "p_depth.npy", "depth", drawn.depth_mm),
        ("thermal", "p_thermal.npy", "thermal", drawn.heat_c),
        ("series", "p.csv", "imu", drawn.imu),
    ):
        file = SensedFile(sense=sense, path=folder / name, reading=fields.get(sense))
        assert sense_of_name(file.path) == sense
        own = space.towers.embed(modality, [raw])[0].numpy()
        assert space.of_file(file).vector @ own > 0.9999, sense
    said = space.of_text(drawn.sentences[0] + " zorp")
    assert said.notes == ("words that the shipped towers never heard: zorp",)
    with pytest.raises(AnomalystError, match="know none of its words"):
        space.of_text("zorp blarg")


def test_sounds_of_any_length_and_films_are_the_mean_of_what_is_heard_and_seen(tmp_path):
    space, rng = open_space("drawn"), np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 16_000 * 5).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", noise, 16_000, subtype="FLOAT")
    soundfile.write(tmp_path / "short.wav", noise[:8000], 16_000, subtype="FLOAT")
    long = space.of_file(SensedFile(sense="audio", path=tmp_path / "long.wav"))
    cuts = [noise[a : a + 32_000] for a in (0, 24_000, 48_000)]
    mean = space.towers.embed("audio", cuts).mean(0)
    assert long.vector @ (mean / mean.norm()).numpy() > 0.9999 and not long.notes
    short = space.of_file(SensedFile(sense="audio", path=tmp_path / "short.wav"))
    again = space.towers.embed("audio", [np.tile(noise[:8000], 4)])[0].numpy()
    assert short.vector @ again > 0.9999 and "repeated to fill 2 s" in short.notes[0]
    moving = SensedFile(sense="video", path=film(tmp_path / "a.avi", 40))
    frames = space.towers.embed("image", list(read_film(moving.path).frames)).mean(0)
    assert space.of_file(moving).vector @ (frames / frames.norm()).numpy() > 0.9999
    curve(tmp_path / "torque.csv", rng)
    with pytest.raises(RecordingError, match="reads vibration: channels torque, temperature"):
        space.of_file(SensedFile(sense="series", path=tmp_path / "torque.csv"))


def test_an_imagebind_and_a_clip_embed_as_their_own_towers_do(part, tmp_path):
    folder, _ = part
    torch.manual_seed(0)
    model = ImageBind(TINY.only("image", "audio", "depth")).eval()
    save(model, tmp_path / "bind")
    space = open_space(f"imagebind:{tmp_path / 'bind'}")
    assert space.senses == ("image", "video", "depth", "audio")
    path = film(tmp_path / "a.avi", 30)
    with torch.no_grad():
        own = model.embed("image", film_input(read_film(path)).values[None])[0].numpy()
    assert space.of_file(SensedFile(sense="video", path=path)).vector @ own > 0.9999
    view = FieldView(kind="depth", unit="mm")
    depth = space.of_file(SensedFile(sense="depth", path=folder / "p_depth.npy", reading=view))
    assert depth.vector.shape == (12,) and abs(np.linalg.norm(depth.vector) - 1) < 1e-5
    with pytest.raises(AnomalystError, match="no tower for thermal files; it takes image, video"):
        space.of_file(SensedFile(sense="thermal", path=folder / "p_thermal.npy"))
    with pytest.raises(AnomalystError, match="no such tower"):
        space.of_text("a bolt")
    clip = open_space(f"clip:{save_clip(tmp_path / 'clip')}")
    words = clip.towers.embed("text", clip.towers.tokens(["a good cookie"]))[0].numpy()
    assert clip.of_text("a good cookie").vector @ words > 0.9999
    arguments = ["find", "--text", "a good cookie", "--among", str(folder), str(path), "--json",
                 "--home", str(tmp_path), "--encoder", f"clip:{tmp_path / 'clip'}"]  # fmt: skip
    found = json.loads(run(app, arguments).stdout)
    assert {hit["sense"] for hit in found["hits"]} == {"image", "video"}
    assert any("1 audio file" in note and "has no tower" in note for note in found["notes"])


def test_the_nearest_come_first_as_a_loop_finds_them():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 8))
    vectors[20] = vectors[10]  # as near as each other: the first stays first
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = vectors[3]
    order, cosines = nearest_first(query, vectors)
    by_hand = [sum(a * b for a, b in zip(query, row, strict=True)) for row in vectors]
    assert np.allclose(cosines, by_hand)
    left, slow = list(range(50)), []
    while left:
        best = left[0]
        for one in left:
            if by_hand[one] > by_hand[best] + 1e-12:
                best = one
        left.remove(best)
        slow.append(best)
    assert list(order) == slow and order[0] == 3


def test_vectors_are_kept_by_space_and_a_damaged_file_is_none(tmp_path):
    kept = Vectors.read(tmp_path, "record", "f" * 16)
    one, two = np.eye(4, dtype=np.float32)[:2]
    kept.known |= {"ab" * 32: one, "cd" * 32: two}
    kept.save({"ab" * 32, "cd" * 32})
    again = Vectors.read(tmp_path, "record", "f" * 16)
    assert again.known.keys() == kept.known.keys() and (again.known["cd" * 32] == two).all()
    assert not Vectors.read(tmp_path, "record", "e" * 16).known
    again.save({"ab" * 32})  # the other is forgotten
    assert list(Vectors.read(tmp_path, "record", "f" * 16).known) == ["ab" * 32]
    kept.path.write_bytes(kept.path.read_bytes()[:40])
    assert not Vectors.read(tmp_path, "record", "f" * 16).known


def test_an_interrupted_search_keeps_what_it_did(part, tmp_path):
    readings = Readings(thermal_unit="C")
    items, space = folder_items([part[0]], readings, LeftOut()), open_space("drawn")
    query, kept = Query(what="a disc", name="a disc"), Kept(folder=tmp_path, name="among")

    def stop(done, total):
        assert total == 5
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(query, items, space, kept, top=5, told=stop)
    assert search(query, items, space, kept, top=5).encoded == 3
    (tmp_path / "file").touch()  # where no folder can be made
    lost = search(query, items, space, Kept(folder=tmp_path / "file", name="x"), top=5)
    assert len(lost.hits) == 5 and any("were not kept" in note for note in lost.notes)


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """Sounds of a fan, some with a knock, and curves of the same parts."""
    folder, rng = tmp_path_factory.mktemp("line"), np.random.default_rng(1)
    (folder / "good").mkdir()
    for i in range(4):
        sound(folder / f"good/p{i}.wav", rng)
        curve(folder / f"good/p{i}.csv", rng)
    for i in range(7):
        sound(folder / f"n{i}.wav", rng, knock=bool(i % 2))
    curve(folder / "n0.csv", rng)
    return folder


@pytest.fixture(scope="module")
def served(line, tmp_path_factory):
    """A server over a record of two pictures, six sounds, and a part of sound and sensors."""
    home = tmp_path_factory.mktemp("bench")
    where = ["--products", str(home / "products")]
    good = ["--audio", str(line / "good")]
    for name, files in {"fan": good, "both": [*good, "--series", str(line / "good")]}.items():
        result = run(app, ["teach", name, *files, *where])
        assert result.exit_code == 0, result.output
    with service_over(home) as service:
        teach_flange(service, 2)
        inspect(service, "flange", GOOD, DEFECT)
        inspect(service, "fan", *(line / f"n{i}.wav" for i in range(6)))
        with (line / "n0.wav").open("rb") as lead, (line / "n0.csv").open("rb") as table:
            both = {"audio": (lead, "both.wav"), "series": (table, "both.csv")}
            sent = take_part(service.pictures, both)
        [id] = service.acknowledge([sent], "both", by="t", source="api")
        assert service.wait(id).state == "done"
        yield service


def inspect(service, product, *files):
    [sense] = service.senses(product)
    sent = []
    for path in files:
        with path.open("rb") as stream:
            sent.append(service.take(stream, path.name, sense))
    for id in service.acknowledge(sent, product, by="t", source="api"):
        assert service.wait(id).state == "done"


def find(service, *words, code=0):
    home = service.config.home
    where = ["--home", str(home), "--products", str(home / "products")]
    result = run(app, ["find", *map(str, words), *where, "--json"])
    if code == 0 and result.exception:
        raise result.exception
    return json.loads(result.stdout)


def test_what_sounded_alike_is_found_and_encoded_once(served, line, tmp_path):
    files = [line / f"n{i}.wav" for i in range(7)]
    space = open_space("drawn")
    vectors = [space.of_file(SensedFile(sense="audio", path=path)).vector for path in files]
    nearest = sorted(range(6), key=lambda i: -float(vectors[i] @ vectors[6]))
    first = find(served, "--audio", files[6], "--product", "fan", "--out", tmp_path)
    assert [hit["name"] for hit in first["hits"]] == [files[i].name for i in nearest]
    assert [hit["similarity"] for hit in first["hits"]] == pytest.approx(
        [float(vectors[i] @ vectors[6]) for i in nearest], abs=1e-4
    )
    assert first["searched"] == first["encoded"] == 6
    page = (tmp_path / "find.html").read_text()
    assert page.count("data:image/jpeg") == 7 and "n6.wav" in page
    whole = find(served, "--audio", files[6], "--top", 3)
    assert whole["searched"] == 9 and whole["encoded"] == 2  # n0.wav is of two inspections
    assert {hit["sense"] for hit in whole["hits"]} == {"audio"}
    [left] = [note for note in whole["notes"] if note.startswith("left out")]
    assert left.startswith("left out: both.wav: the tower for series reads vibration: channels")
    again = find(served, "--audio", files[6], "--top", 3)
    assert again["encoded"] == 0 and again["hits"] == whole["hits"]
    inspect(served, "fan", files[6])
    new = find(served, "--audio", files[6], "--product", "fan", "--top", 1)
    assert new["encoded"] == 1 and new["hits"][0]["name"] == "n6.wav"
    assert new["hits"][0]["similarity"] > 0.9999


def test_other_weights_are_another_space(served, monkeypatch):
    from anomalyst.backbones.spaces import drawn

    find(served, "--image", GOOD)
    assert find(served, "--image", GOOD)["encoded"] == 0
    monkeypatch.setattr(drawn, "PREPARED", 10**6)  # as if files were prepared otherwise
    assert find(served, "--image", GOOD)["encoded"] >= 8


def test_pictures_are_found_by_pictures_words_and_since(served):
    found = find(served, "--image", DEFECT, "--sense", "image")
    assert found["hits"][0]["name"] == DEFECT.name and found["hits"][0]["similarity"] > 0.9999
    assert {hit["sense"] for hit in found["hits"]} == {"image"} and found["notes"] == []
    words = find(served, "--text", "a metal disc with a zorp", "--sense", "image")
    assert words["searched"] == 2 and "never heard: zorp" in words["notes"][0]
    assert "not its condition" in words["notes"][-1]
    with pytest.raises(AnomalystError, match="holds nothing that could be found with --since"):
        find(served, "--image", DEFECT, "--since", "2999-01-01")


def test_a_file_that_is_gone_is_left_out_with_a_note(served):
    row = served.store.history(served_filter("flange"))[-1]
    path = served.pictures.path(row.picture)
    data = path.read_bytes()
    path.unlink()
    try:
        found = find(served, "--image", DEFECT, "--product", "flange")
    finally:
        path.write_bytes(data)
    assert len(found["hits"]) == 1
    assert f"left out: {row.name}: its file is no longer kept." in found["notes"]


def served_filter(product):
    from anomalyst.server.storage.filters import Filter

    return Filter(product=product)


def test_the_same_is_found_over_rest_and_nothing_sent_is_kept(served, line):
    knock = line / "n5.wav"
    with client_of(served) as client:

        def post(files=(), **data):
            return client.post("/api/v1/search", data=data, files=dict(files))

        sent = {"audio": ("my.wav", knock.read_bytes())}
        answer = post(sent, top="3", sense="audio")
        assert answer.status_code == 200, answer.text
        told = find(served, "--audio", knock, "--top", 3, "--sense", "audio")
        same = ("id", "name", "sense")
        assert [[h[k] for k in same] for h in answer.json()["hits"]] == [
            [h[k] for k in same] for h in told["hits"]
        ]
        assert answer.json()["hits"][0]["verdict"] == told["hits"][0]["verdict"]
        by_words = post(text="a metal disc", product="flange")
        assert by_words.status_code == 200 and len(by_words.json()["hits"]) == 2
        none, both = post(), post(sent, text="a disc")
        assert none.status_code == both.status_code == 422
        assert "0 queries were sent" in none.text and "2 queries were sent" in both.text
        bad = post({"audio": ("bad.wav", b"no sound")})
        assert bad.status_code == 422 and "bad.wav: is not a sound we can read" in bad.text
        assert post(text="zorp").status_code == 422
        assert "holds nothing" in post(text="disc", product="none").text
    assert not list(served.config.home.glob(".query-*"))


def test_queries_and_places_that_are_none_are_refused(tmp_path):
    home = ["--home", str(tmp_path / "home")]
    photo = ["--image", str(GOOD)]
    for words, said in (
        ([], "nothing was given to look for; give exactly one of --text, --image"),
        ([*photo, "--text", "a disc"], "--text and --image was given"),
        (["--text", " "], "--text: is empty"),
        (photo, "holds no record of inspections; give the --home of a workbench"),
        ([*photo, "--among", "/none"], "--among /none: there is no such file or folder"),
        ([*photo, "--among", str(FLANGE), "--product", "x"], "which have no --product"),
        ([*photo, "--among", str(FLANGE), "--encoder", "clop"], "--encoder clop: is no space"),
        ([*photo, "--among", str(FLANGE), "--sense", "smell"], "--sense 'smell': is none of image"),
        ([*photo, "--among", str(FLANGE), "--sense", "audio"], "could be found with --sense audio"),
        (["--thermal", str(GOOD), "--among", str(FLANGE)], "have no usual unit"),
        (["--image", "gone.png", "--among", str(FLANGE)], "gone.png: there is no such file"),
    ):
        result = run(app, ["find", *words, *home])
        assert isinstance(result.exception, AnomalystError), (words, result.output)
        assert said in str(result.exception), (said, str(result.exception))
    assert not (tmp_path / "home").exists()  # a search that fails makes nothing
    with service_over(tmp_path / "home"):
        result = run(app, ["find", *photo, *home])
    assert "holds nothing that could be found" in str(result.exception)
