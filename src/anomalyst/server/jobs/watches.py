"""Watches started from the workbench: `anomalyst watch` in processes of their own."""

import re
from collections.abc import Sequence
from typing import Any

from anomalyst.errors import AnomalystError
from anomalyst.io.files import make_folder
from anomalyst.product_index import product_folder
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import Conflict, NotFound
from anomalyst.server.jobs.processes import is_running, job_of, last_words, start_child, stop_child
from anomalyst.server.streaming.addresses import keep_in_file, without_password
from anomalyst.server.streaming.reachable import SETTING
from anomalyst.server.streaming.sinks import Webhook


class Watches:
    """The watches of one home."""

    def __init__(self, config: ServingConfig):
        self.config = config
        self.folder = config.home / "watches"

    def all(self) -> list[dict[str, Any]]:
        """Every watch that was started here, by name."""
        return [
            {
                **{key: job_of(folder).get(key) for key in ("source", "product")},
                "name": folder.name,
                "state": "running" if is_running(folder) else "ended",
                "console": last_words(folder),
            }
            for folder in sorted(self.folder.glob("*"))
            if job_of(folder)
        ]

    def start(
        self, source: str, product: str, *, mqtt: Sequence[str] = (), webhook: Sequence[str] = ()
    ) -> str:
        """Watch a source for a product; returns the watch's name. It outlives the server."""
        product_folder(product, self.config.products)
        if not source.strip() or source.startswith("-"):
            raise AnomalystError(
                "give a folder, growing CSV, mqtt://..., rtsp://... or a camera's number to watch."
            )
        shown = without_password(source)
        name = re.sub(r"[^\w.-]+", "-", f"{product}-{shown}").strip("-.")[-80:]
        folder = self.folder / name
        for hook in webhook:
            Webhook(hook, internal=self.config.internal_webhooks).check()
        if is_running(folder):
            raise Conflict(f"{shown} is watched for {product!r} already.")
        config = self.config
        make_folder(folder)
        source, *told = (
            keep_in_file(address, folder / f"address-{number}")
            for number, address in enumerate((source, *mqtt, *webhook))
        )
        mqtt, webhook = told[: len(mqtt)], told[len(mqtt) :]
        arguments = ["watch", source, "--product", product]
        arguments += ["--home", str(config.home), "--products", str(config.products)]
        if config.database:
            arguments += ["--database", keep_in_file(config.database, folder / "database")]
        arguments += [word for address in mqtt for word in ("--mqtt", address)]
        arguments += [word for address in webhook for word in ("--webhook", address)]
        arguments += [SETTING] if config.internal_webhooks else []
        start_child(arguments, folder, source=shown, product=product)
        return name

    def stop(self, name: str) -> None:
        """Ask a watch to finish what it has, and end. Raises NotFound."""
        folder = self.folder / name
        if "/" in name or not is_running(folder):
            raise NotFound(f"there is no running watch {name[:80]!r}.")
        stop_child(folder)
