"""Cameras against real streams of this machine: MJPEG over HTTP, RTSP, a GenTL producer."""

import shutil
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from anomalyst.errors import AnomalystError
from anomalyst.server.load_test import free_port
from anomalyst.server.streaming.cameras import Camera, CameraRule
from anomalyst.server.streaming.feeds import feed_of, frame_of
from serving import until

RTSP_SERVER = """
import sys, gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer(); server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch("( videotestsrc is-live=true pattern=ball ! video/x-raw,width=160,height=120,"
                   "framerate=25/1 ! x264enc tune=zerolatency key-int-max=10 ! "
                   "rtph264pay name=pay0 pt=96 )")
server.get_mount_points().add_factory("/line", factory)
server.attach(None); print("up", flush=True); GLib.MainLoop().run()
"""

NEEDED = "sys.exit(not all(Gst.ElementFactory.find(x) for x in ('x264enc', 'rtph264pay')))"


class Stream:
    """An MJPEG stream over HTTP as network cameras give it; it may freeze, fall silent or end."""

    def __init__(self) -> None:
        self.mode = "moving"  # frozen, silent, away
        self._number = 0
        stream = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if stream.mode == "away":
                    self.send_error(503)
                    return
                self.send_response(200)
                kind = "multipart/x-mixed-replace; boundary=frame"
                self.send_header("Content-Type", kind)
                self.end_headers()
                try:
                    while stream.mode != "away":
                        self.give()
                        time.sleep(0.03)
                except OSError:
                    pass

            def give(self) -> None:
                if stream.mode == "silent":
                    return
                data = stream.picture()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}/line.mjpg"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def picture(self) -> bytes:
        """The next frame; while it is frozen, the same."""
        self._number += self.mode != "frozen"
        frame = np.full((48, 64, 3), (self._number * 7 % 200, 90, 200), np.uint8)
        return cv2.imencode(".jpg", frame)[1].tobytes()


@pytest.fixture
def stream():
    found = Stream()
    yield found
    found.mode = "away"
    found.server.shutdown()


def frames(camera: Camera, count: int) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    assert until(
        lambda: found.extend(_opened(one) for one in camera.new()) or len(found) >= count, 20
    )
    return found


def _opened(taken) -> np.ndarray:
    with taken.open() as file:
        return cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)


def test_a_stream_that_freezes_or_ends_is_an_alarm_and_comes_back(stream):
    camera = Camera(stream.address, CameraRule(silent_seconds=1.0, frozen_frames=10))
    said: list[str | None] = []
    camera.on_blind = said.append
    try:
        seen = frames(camera, 3)
        assert seen[0].shape == (48, 64, 3) and abs(int(seen[0][0, 0, 2]) - 200) < 4  # red, in BGR
        stream.mode = "frozen"
        assert until(lambda: camera.blind is not None, 20)
        assert "the same picture 10 times" in said[-1]
        time.sleep(0.2)
        assert list(camera.new()) == []  # what it shows is not what lies before it
        stream.mode = "moving"
        assert until(lambda: camera.blind is None, 20) and frames(camera, 2)
        stream.mode = "away"
        assert until(lambda: camera.blind is not None, 20) and "no picture for" in said[-1]
        stream.mode = "moving"
        assert until(lambda: camera.blind is None, 20) and frames(camera, 2)
        assert [one is None for one in said] == [False, True, False, True]
    finally:
        camera.close()


def test_each_frame_is_kept_where_each_is_a_part(stream):
    camera = Camera(stream.address, CameraRule(each=True))
    lost: list[str] = []
    camera.on_lost = lambda *given: lost.append(given[0])
    try:
        time.sleep(0.4)
        kept = list(camera.new())
        assert len(kept) > 3 and not lost and kept[0].came_at < kept[-1].came_at
        assert until(lambda: lost, 20) and camera.dropped == len(lost)  # nobody takes them: told
    finally:
        camera.close()


@pytest.mark.slow
def test_a_real_rtsp_stream():
    python = shutil.which("python3", path="/usr/bin")
    probe = [python, "-c", RTSP_SERVER.split("server = ")[0] + NEEDED]
    if python is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("GStreamer's RTSP server (gir1.2-gst-rtsp-server-1.0) is not installed")
    port = free_port()
    begun = subprocess.Popen(
        [python, "-c", RTSP_SERVER, str(port)], stdout=subprocess.PIPE, text=True
    )
    camera = None
    try:
        assert begun.stdout.readline() == "up\n"
        camera = Camera(f"rtsp://127.0.0.1:{port}/line", CameraRule(silent_seconds=2.0))
        assert frames(camera, 3)[0].shape == (120, 160, 3)
        begun.kill()
        begun.wait()
        assert until(lambda: camera.blind is not None, 20)
        begun = subprocess.Popen(
            [python, "-c", RTSP_SERVER, str(port)], stdout=subprocess.PIPE, text=True
        )
        assert until(lambda: camera.blind is None, 40) and frames(camera, 2)
    finally:
        if camera is not None:
            camera.close()
        begun.kill()


def test_a_genicam_camera_of_a_real_producer():
    """Viky, a bouncing ball that comes with the GenICam package: no camera, but all of GenTL."""
    pytest.importorskip("harvesters")
    import genicam

    producer = next(Path(genicam.__file__).parent.glob("viky.cti"), None)
    if producer is None:
        pytest.skip("this GenICam package brings no producer")
    camera = Camera(f"genicam:VikyTL_DEV_green?cti={producer}")
    try:
        first, second, *_ = frames(camera, 3)
        assert first.shape == (400, 400, 3) and not np.array_equal(first, second)
        blue, green, red = first.reshape(-1, 3).mean(axis=0)
        assert green > blue + 0.3 and green > red + 0.3  # RGBa8 in a PNG's order
    finally:
        camera.close()
    with pytest.raises(AnomalystError, match="none of the GenICam cameras that are there: Viky"):
        Camera(f"genicam:nobody?cti={producer}")


@pytest.mark.parametrize("letters", ["RG", "GR", "GB", "BG"])
@pytest.mark.parametrize("bits", [8, 12])
def test_mosaics_of_cameras_get_their_colours(letters, bits):
    white = 2**bits - 1
    colour = {"R": white, "G": white // 2, "B": 0}
    rows = [letters, {"RG": "GB", "GR": "BG", "GB": "RG", "BG": "GR"}[letters]]
    cell = np.array([[colour[one] for one in row] for row in rows])
    data = np.tile(cell, (8, 8)).astype(np.uint8 if bits == 8 else np.uint16)
    frame = frame_of(data.ravel(), f"Bayer{letters}{bits}", (16, 16))
    assert frame.dtype == data.dtype
    assert frame[8, 8].tolist() == [0, white // 2, white]  # as OpenCV has colours


def test_what_is_no_camera_is_refused(tmp_path):
    with pytest.raises(AnomalystError, match="PixelFormat is Mono10p, which is not read"):
        frame_of(np.zeros(20, np.uint8), "Mono10p", (4, 4))
    with pytest.raises(AnomalystError, match=r"no GenTL producer .*missing.cti"):
        feed_of(f"genicam:0?cti={tmp_path / 'missing.cti'}")
    with pytest.raises(AnomalystError, match="as usb:0"):
        feed_of("usb:x")
    with pytest.raises(AnomalystError, match=r"camera rtsp://127.0.0.1:1/x: cannot be opened"):
        Camera("rtsp://user:secret@127.0.0.1:1/x")
    with pytest.raises(AnomalystError, match="--frozen-frames"):
        CameraRule(frozen_frames=1)
