"""The server: API and pages in one process, the model in another."""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from anomalyst.errors import AnomalystError
from anomalyst.io.locks import Lock
from anomalyst.server.api.app import build_app
from anomalyst.server.config import ServingConfig
from anomalyst.server.demonstration import DEMO, TAUGHT_FIRST, inspect_first
from anomalyst.server.gradio_startup import import_gradio_quickly
from anomalyst.server.service import Service
from anomalyst.server.storage.jobs import jobs
from anomalyst.server.storage.left_behind import clear_left_behind
from anomalyst.server.storage.retention import prune
from anomalyst.server.teaching import ended

log = logging.getLogger(__name__)
PRUNE_SECONDS = 6 * 3600.0
FIRST_SECONDS = 600.0  # at most, until another server has taught the first product
LOOK_SECONDS = 15.0  # between looks for what a server left that is gone
THREADS = 128


def serve(config: ServingConfig) -> None:
    """Serve until a signal comes; what was acknowledged is finished, or waits in the store."""
    options = uvicorn.Config(
        build_server(Service(config)),
        host=config.host,
        port=config.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=8,  # an open page never ends its request by itself
        server_header=False,
        ssl_certfile=config.tls_cert,
        ssl_keyfile=config.tls_key,
    )
    uvicorn.Server(options).run()


def check_address(host: str, port: int) -> None:
    """Raises AnomalystError if it cannot be listened at, before anything is read or written."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise AnomalystError(
            f"{host}:{port} cannot be listened at ({error.strerror}); another server may run "
            "there. Choose another --port."
        ) from error


def check_tls(cert: Path, key: Path) -> None:
    """Raises AnomalystError for a certificate or key that cannot be used."""
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert, key)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise AnomalystError(
            f"--tls-cert {cert}, --tls-key {key}: cannot be used ({error}); two PEM files that "
            "belong together are needed."
        ) from error


def build_server(service: Service) -> FastAPI:
    """The whole app: REST, OpenAPI, pages; its end closes the service."""
    import_gradio_quickly()
    from anomalyst.server.ui.workbench import mount_workbench

    app = build_app(service)
    pages = mount_workbench(app, service)
    inner = pages.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(whole: FastAPI) -> AsyncIterator[None]:
        # Each waiting client holds a thread; health and readiness need none.
        current_default_thread_limiter().total_tokens = THREADS
        ended = threading.Event()
        threading.Thread(target=_begin, args=(whole, service, ended), daemon=True).start()
        async with inner(whole):
            yield
        ended.set()
        await asyncio.to_thread(service.close)

    pages.router.lifespan_context = lifespan
    return pages


def _begin(app: FastAPI, service: Service, ended: threading.Event) -> None:
    """What is done beside the first requests: unfinished work, the first product, upkeep."""
    service.queue.start()  # not before the pages are there: both want the processor
    try:
        resumed = service.resume() + app.state.corrections.resume()
        if resumed:
            log.info("took up %d unfinished tasks", resumed)
        alone = Lock(service.config.home / "servers" / "first.lock")
        with alone.within(FIRST_SECONDS):  # of several servers that start over a new home, one
            if not service.product_names():
                teach_first(service)
            inspect_first(service)
    except Exception as error:
        if service.closing:  # what was begun waits in the store
            log.info("the server closed before its beginning was done: %s", error)
        else:
            log.exception("the server's beginning failed")
    upkeep = time.monotonic()
    while not ended.wait(LOOK_SECONDS):
        try:
            if taken := service.look_around():
                log.info("took up %d tasks that nobody did", taken)
            if time.monotonic() - upkeep > PRUNE_SECONDS:
                upkeep = time.monotonic()
                clear_left_behind(service.config)
                prune(service.store, service.config.keep_days)
        except (AnomalystError, SQLAlchemyError) as error:  # the next look may do
            if not service.closing:
                log.warning("what nobody does was not looked for: %s", error)
        except Exception:  # a fault of ours; the next look goes on
            log.exception("upkeep failed")


def teach_first(service: Service) -> None:
    """A new installation opens with a product already taught: a bundled, drawn one."""
    good = sorted((DEMO / TAUGHT_FIRST / "good").glob("*.*"))
    started = time.perf_counter()
    begun = jobs(service.store, product=TAUGHT_FIRST, active=True)  # by a server that was stopped
    if begun:
        ended(service.background.wait(begun[0].id))
    else:
        sent = [service.take_file(path) for path in good]
        service.teach(TAUGHT_FIRST, sent, by="anomalyst", describe="", new=True)
    log.info("taught %s in %.1f s", TAUGHT_FIRST, time.perf_counter() - started)
