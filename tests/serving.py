"""What the tests of the workbench share: a bench with a real model process, pictures, fuzz."""

import atexit
import io
import json
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

from fastapi.testclient import TestClient

from anomalyst.server.api.app import build_app
from anomalyst.server.client import Client
from anomalyst.server.config import Limits, ServingConfig
from anomalyst.server.jobs.queue import work
from anomalyst.server.jobs.tasks import Teach
from anomalyst.server.load_test import Server, served
from anomalyst.server.service import Service
from conftest import DEMO

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLANGE = DEMO / "flange"
DEFECT = FLANGE / "test" / "fracture-001.jpg"
GOOD = FLANGE / "test" / "good-000.jpg"


@contextmanager
def service_over(home: Path, **config) -> Iterator[Service]:
    """A service with its own model process over a folder."""
    service = Service(ServingConfig(home=home, products=home / "products", **config))
    try:
        yield service
    finally:
        service.close()


def bolt_known(home: Path, **config) -> ServingConfig:
    """A configuration over a home that knows a product `bolt`, without pictures."""
    folder = home / "products" / "bolt"
    (folder / "references").mkdir(parents=True)
    record = {
        "format": 2, "name": "bolt", "pose": "fixed", "encoder": "embedded", "references": [],
        "calibration": {"method": "none", "scores": []}, "notes": [],
    }  # fmt: skip
    (folder / "product.json").write_text(json.dumps(record))
    return ServingConfig(home=home, products=home / "products", **config)


def teach_flange(service: Service, pictures: int = 4) -> None:
    """Teach the bundled product from a few pictures: quick, and once for all tests of a process."""
    shutil.copytree(flange_taught(pictures), service.config.products / "flange")
    names = [path.name for path in flange_pictures(pictures)]
    service.store.note("flange", "taught", "test", pictures=names, describe=None)


@cache
def flange_taught(pictures: int) -> Path:
    """The folder of the bundled product, as the model process teaches it."""
    from anomalyst.server.jobs.worker import Model

    home = Path(tempfile.mkdtemp(prefix="anomalyst-tests-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    good = tuple({"image": (path, path.name)} for path in flange_pictures(pictures))
    model = Model(ServingConfig(home=home, products=home / "products"))
    [done] = model.do([Teach(product="flange", good=good)], lambda _: None)
    assert isinstance(done, dict), done
    return home / "products" / "flange"


def flange_pictures(count: int) -> list[Path]:
    """The first good pictures of the bundled product."""
    return sorted((FLANGE / "good").glob("*.jpg"))[:count]


def client_of(service: Service, **kwargs) -> TestClient:
    """The REST app over a service, as its own users reach it."""
    return TestClient(build_app(service), base_url="http://127.0.0.1:7860", **kwargs)


def with_limits(**limits) -> dict[str, Limits]:
    """Limits as a server's configuration takes them."""
    return {"limits": Limits(**limits)}


def send(
    client: TestClient, data: bytes, name: str = "part.jpg", product: str = "flange", **kwargs
):
    """POST one picture."""
    return client.post(
        "/api/v1/inspections",
        data={"product": product},
        files={"picture": (name, data)},
        **kwargs,
    )


def job_of(client, answer, state: str = "done", pause: float = 0.05, **words) -> dict:
    """The job that a teaching began, once it has ended as `state` says; `words`: of requests."""
    assert answer.status_code == 202, answer.text
    end = time.monotonic() + 300
    while (job := client.get(answer.headers["Location"], **words).json())["state"] in (
        "queued", "running",
    ):  # fmt: skip
        assert time.monotonic() < end, job
        time.sleep(pause)
    assert job["state"] == state, job
    return job


def taught(client, answer) -> dict:
    """The product that was taught, once it is."""
    return client.get(f"/api/v1/products/{job_of(client, answer)['product']}").json()


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose head claims a size and whose data ends at once."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def zip_of(files: dict[str, bytes]) -> bytes:
    """A ZIP file."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return target.getvalue()


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"><script>1</script></svg>'


def odd_files() -> dict[str, bytes]:
    """Files that are no picture to inspect, by what is wrong with them."""
    jpeg = DEFECT.read_bytes()
    return {
        "empty": b"",
        "text": b"hello, this is no picture",
        "1e9 pixels": png_claiming(40_000, 25_000),
        "2e31 wide": png_claiming(2**31 - 1, 1),
        "no pixel": png_claiming(0, 0),
        "zip bomb": zip_of({"a": bytes(10_000_000)}),
        "svg": SVG,
        "gif polyglot": b"GIF89a/*" + SVG + b"*/",
        "html": b"<!doctype html><script>alert(1)</script>",
        "cut short": jpeg[: len(jpeg) // 3],
        "cut head": jpeg[:20],
        "tiny": png_claiming(3, 3),
        "png of bombs": png_claiming(9_999, 9_999),
        "pdf": b"%PDF-1.4\n1 0 obj\n<<>>\nendobj",
        "elf": b"\x7fELF" + bytes(200),
        "tiff loop": b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00",
    }


def work_unless_short(config: ServingConfig, pipe: Connection) -> None:
    """A model process that ends while it reads the model, as long as HOME/short is there."""
    if (config.home / "short").exists():
        raise SystemExit("no memory")
    work(config, pipe)


class Hook:
    """A webhook that takes messages, refuses all while `broken`, and `refused` ones for good."""

    def __init__(self, port: int):
        self.taken: list[tuple[str, dict]] = []
        self.broken = False
        self.refused: set[str] = set()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                refused = body.get("picture") in hook.refused
                if not hook.broken and not refused:
                    hook.taken.append((self.headers["Idempotency-Key"], body))
                self.send_response(500 if hook.broken else 422 if refused else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def until(true: Callable[[], object], seconds: float = 60) -> bool:
    """Whether it becomes true in that time."""
    end = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.02)
    return bool(found)


def broker_at(port: int, folder: Path) -> subprocess.Popen:
    """A real broker that keeps what it holds in a folder, over its own restarts."""
    settings = folder / "mosquitto.conf"
    (folder / "kept").mkdir(mode=0o777, exist_ok=True)
    (folder / "kept").chmod(0o777)
    settings.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nmax_queued_messages 0\n"
        f"persistence true\npersistence_location {folder}/kept/\n"
    )
    process = subprocess.Popen([str(MOSQUITTO), "-c", str(settings)], stderr=subprocess.DEVNULL)
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.05)
    raise AssertionError("mosquitto did not come up")


@contextmanager
def new_server() -> Iterator[Server]:
    """`anomalyst serve` over a new home, once its first page opens with an inspected picture."""
    with served() as found:
        found.await_ready()
        with Client(found.address) as client:
            for _ in range(1800):
                if any(client.history(source="demo", state="done")):
                    break
                time.sleep(0.1)
            else:
                raise AssertionError("the demo's picture was not inspected within three minutes")
        yield found


def drop(page, *pictures) -> None:
    """Drop pictures on the page Inspect, and wait for the last one's result."""
    from playwright.sync_api import TimeoutError as Late

    with suppress(Late):  # a product of which nothing was inspected opens with none
        page.wait_for_selector(".an-viewer[data-id]:not([data-id='None'])", timeout=5000)
    before = page.evaluate("document.querySelector('.an-viewer')?.dataset.id ?? ''")
    page.set_input_files("#inspect-drop input[type=file]", [str(one) for one in pictures])
    anew = f".an-viewer[data-source=workbench]:not([data-id='{before}'])"
    last = f"{anew} .an-name:has-text('{pictures[-1].name}')"
    page.wait_for_selector(last)


def open_page(page, server, name: str) -> None:
    page.goto(f"{server.address}/{name}")
    page.wait_for_load_state("domcontentloaded")
