"""One training on all machines of a hostfile, started, read and ended from one terminal."""

import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from anomalyst.training.distributed.cluster_check import MODULES
from anomalyst.training.distributed.hosts import RemoteShell

LOST = 255  # exit status of ssh when it lost the machine
Say = Callable[[str], None]


def start_on_all(
    hosts: Mapping[str, int],
    shell: RemoteShell,
    words: Sequence[str],
    *,
    folder: Path,
    python: str,
    master: str,
    say: Say,
) -> int:
    """`anomalyst` with these words on every machine, in a folder there; the worst exit status.

    `master`: HOST:PORT of the first machine. What a machine says is told with its name before it.
    When one ends badly the others are asked to end; so they are on Ctrl-C, and save first.
    """
    started = []
    for rank, (host, slots) in enumerate(hosts.items()):
        spread = ["--nnodes", str(len(hosts)), "--nproc", str(slots), "--node-rank", str(rank)]
        command = [python, "-m", f"{MODULES}.node_run", python, "-m", "anomalyst", *words, *spread]
        started.append(shell.start(host, [*command, "--master", master], folder=folder))
    readers = [
        threading.Thread(target=_tell, args=(host, stream, say), daemon=True)
        for host, process in zip(hosts, started, strict=True)
        for stream in (process.stdout, process.stderr)
    ]
    for reader in readers:
        reader.start()
    try:
        while None in (statuses := [one.poll() for one in started]):
            if any(statuses):
                _end(started)
            time.sleep(0.2)
    except KeyboardInterrupt:
        say("Asking all machines to save and end.")
        _end(started)
        for one in started:
            one.wait()
    for reader in readers:
        reader.join(5)
    for host, one in zip(hosts, started, strict=True):
        if one.returncode == LOST:
            say(f"{host}: the connection was lost; the same command goes on from the last step.")
    return max(abs(one.returncode) for one in started)


def _end(started: Sequence["subprocess.Popen[str]"]) -> None:
    """`node_run` ends its command when its input is closed."""
    for one in started:
        if one.stdin and not one.stdin.closed:
            one.stdin.close()


def _tell(host: str, stream: "Sequence[str] | None", say: Say) -> None:
    for line in stream or ():
        say(f"{host}: {line.rstrip()}")
