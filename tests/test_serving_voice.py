"""A question by voice over REST and on the page, with a real model process."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from anomalyst.voice.words import spoken_words
from serving import DEFECT, drop, send

GOOD_PICTURES = 1  # that the service's product is taught from
SAID = Path(__file__).parent / "data" / "voice" / "is-there-a-defect.ogg"
API = "/api/v1/inspections"


@pytest.fixture(scope="module")
def path(client) -> str:
    return f"{API}/{send(client, DEFECT.read_bytes()).json()['id']}/turns"


def ask(client, path: str, data: bytes, name: str = "question.wav"):
    return client.post(f"{path}/spoken", files={"sound": (name, data)})


def test_a_spoken_question_becomes_a_turn(client, path, service):
    said = ask(client, path, SAID.read_bytes())
    assert said.status_code == 201, said.text
    turn = said.json()
    assert spoken_words(turn["question"]) == ["is", "there", "a", "defect"]
    assert 0 < turn["confidence"] <= 1 and turn["notes"] == []
    typed = client.post(path, json={"question": turn["question"]}).json()
    assert typed["answer"]["text"] == turn["answer"]["text"]
    assert [one["id"] for one in client.get(path).json()][-2] == turn["id"]
    sounds = [one for one in service.config.home.rglob("*") if one.suffix in (".wav", ".ogg")]
    assert not sounds  # nothing of it is kept


def test_a_sound_that_cannot_be_used_is_told(client, path):
    silent = io.BytesIO()
    soundfile.write(silent, np.zeros(16_000), 16_000, format="WAV")
    for data, sentence in (
        (b"no sound", "question.wav: is not a sound we can read"),
        (silent.getvalue(), "question.wav: is silent"),
        (b"\x1a\x45\xdf\xa3" + bytes(40), "question.wav: is WebM"),
    ):
        refused = ask(client, path, data)
        assert refused.status_code == 422 and sentence in refused.json()["detail"]
    assert ask(client, f"{API}/{'0' * 32}/turns", SAID.read_bytes()).status_code == 404


def test_noise_is_not_answered(client, path):
    before = client.get(path).json()
    noise = io.BytesIO()
    drawn = np.random.default_rng(0).standard_normal(32_000) * 0.1
    soundfile.write(noise, drawn, 16_000, format="WAV")
    refused = ask(client, path, noise.getvalue())
    assert refused.status_code == 422 and "type it" in refused.json()["detail"]
    assert client.get(path).json() == before


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_hears_a_microphone(server, tmp_path):
    pytest.importorskip("playwright")
    from playwright.sync_api import sync_playwright

    wave, rate = soundfile.read(SAID)
    spoken = tmp_path / "microphone.wav"  # which Chromium says once
    soundfile.write(spoken, np.pad(wave, (rate // 4, rate)), rate)
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox", "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={spoken}%noloop",
            ],
        )  # fmt: skip
        page = browser.new_context(permissions=["microphone"]).new_page()
        page.set_default_timeout(30_000)
        page.goto(server.address)
        page.wait_for_selector("#inspect-drop input[type=file]", state="attached")
        page.wait_for_function("document.querySelector('#inspect-product input').value !== ''")
        page.wait_for_selector(".an-viewer")  # the page opens with one that was inspected
        drop(page, DEFECT)
        page.click("#inspect-voice-open button")
        assert page.is_visible("text=The sound stays on this machine")
        page.click("#inspect-voice button.record-button, #inspect-voice .record")
        page.wait_for_timeout(2500)
        page.click("#inspect-voice .stop-button, #inspect-voice button:has-text('Stop')")
        page.wait_for_selector("#inspect-talk :text('is there a defect?')")
        browser.close()
