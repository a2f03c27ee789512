"""What several tests need: real pictures beside the project, and the shipped inspector."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
DEMO = ROOT / "src" / "anomalyst" / "demo"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in a browser wait for pages by the second: they run one after the other (Makefile)."""
    for item in items:
        if {"server", "browser"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("alone")


@pytest.fixture(scope="session")
def cookie() -> Path:
    """Biscuits, normal and cracked: real pictures of 512x384."""
    if not (DATA / "cookie").is_dir():
        pytest.skip("../shared/data/cookie is not there; it holds the real pictures")
    return DATA / "cookie"


@pytest.fixture(scope="session")
def inspector():
    """The embedded default with its shipped weights."""
    from anomalyst.inspector import Inspector

    return Inspector.load()


@pytest.fixture
def one_thread():
    """Small work on one thread: two that wait for each other are slower on a busy machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A folder with a drawn set, a schooled LLaMA of 0.2 M parameters and tiny.yaml over both."""
    import torch

    from anomalyst.training.experiments.tiny import make_tiny

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tiny")
    make_tiny(folder, schooling=150)
    torch.set_num_threads(threads)
    return folder


@pytest.fixture(scope="session")
def server():
    """`anomalyst serve` in a process of its own, over a new home."""
    from serving import new_server

    with new_server() as found:
        yield found


@pytest.fixture(scope="module")
def service(request, tmp_path_factory):
    """A service of its own, its product taught from the module's `GOOD_PICTURES`, else four."""
    from serving import service_over, teach_flange

    with service_over(tmp_path_factory.mktemp("bench")) as found:
        teach_flange(found, getattr(request.module, "GOOD_PICTURES", 4))
        yield found


@pytest.fixture(scope="module")
def client(service):
    """Its REST app, as its users reach it."""
    from serving import client_of

    with client_of(service) as found:
        yield found


@pytest.fixture
def refused(capsys, monkeypatch):
    """Runs a command by the real entry point; the sentence it ends with, on stderr alone."""
    from anomalyst.cli.main import main

    def run(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["anomalyst", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        assert stop.value.code == 2 and not printed.out, printed
        return printed.err

    return run


@pytest.fixture(scope="module")
def browser():
    """Chromium, on a machine that has it."""
    pytest.importorskip("playwright")
    from playwright.sync_api import sync_playwright

    from serving import CHROMIUM

    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser, server):
    """The page Inspect of the server, once its product is there."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    found = context.new_page()
    found.set_default_timeout(90_000)  # a busy machine takes its time
    found.goto(server.address)
    found.wait_for_selector("#inspect-drop input[type=file]", state="attached")
    found.wait_for_function("document.querySelector('#inspect-product input')?.value")
    yield found
    context.close()
