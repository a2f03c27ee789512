"""Machines looked at before a long start: reachable, alike, on time, one folder, one network."""

import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text
from anomalyst.training.distributed.hosts import DEFAULT_PORT, RemoteShell

MODULES = "anomalyst.training.distributed"
PINGS = 5
ALIKE = ("anomalyst", "torch", "python", "machine")  # must be equal on all machines
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckConfig:
    """What is looked at, and how strictly."""

    shared: Path = field(default_factory=Path.cwd)  # must be one folder on all machines
    port: int = DEFAULT_PORT  # of the first machine: where all meet
    master: str = ""  # address of the first machine for the others; empty: its name
    python: str = sys.executable  # of every machine
    clock_seconds: float = 1.0  # clocks may differ by so much
    patience: float = 90.0  # seconds that a machine may take to answer
    bandwidth: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.port < 65536:
            raise AnomalystError(f"--port {self.port}: a number from 1 to 65535 is needed.")


@dataclass(slots=True, kw_only=True)
class Node:
    """A machine, and what it said."""

    host: str
    slots: int
    report: dict[str, Any] = field(default_factory=dict)
    clock: float = 0.0  # seconds that it is ahead of this machine
    doubt: float = 0.0  # the clock may be wrong by so much: half of the fastest answer's time
    problem: str = ""  # why it said nothing


@dataclass(slots=True, kw_only=True)
class Checked:
    """What a check found; nothing in `problems`: a start is safe as far as can be known."""

    nodes: list[Node]
    problems: list[str]
    bandwidth: list[dict[str, float]] = field(default_factory=list)


def check_cluster(
    hosts: Mapping[str, int], shell: RemoteShell, config: CheckConfig, say: Say = lambda _: None
) -> Checked:
    """Ask all machines at once, compare, and measure the network if nothing speaks against it."""
    nodes = [Node(host=host, slots=slots) for host, slots in hosts.items()]
    token = config.shared / f".anomalyst-check-{secrets.token_hex(8)}"
    say(f"Asking {len(nodes)} machines.")
    try:
        write_text(token, token.name)
        threads = [threading.Thread(target=_ask, args=(one, i, shell, config, token), daemon=True)
                   for i, one in enumerate(nodes)]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        written = {one.host: _own(token, i).is_file() for i, one in enumerate(nodes)}
    finally:
        for path in config.shared.glob(f"{token.name}*"):
            path.unlink(missing_ok=True)
    checked = Checked(nodes=nodes, problems=_problems(nodes, written, config))
    if config.bandwidth and len(nodes) > 1 and not checked.problems:
        say("Measuring the network between them.")
        rows, problem = _measured(nodes, shell, config)
        checked.bandwidth, checked.problems = rows, [problem] if problem else []
    return checked


def _own(token: Path, index: int) -> Path:
    return token.with_name(f"{token.name}-{index}")


def _ask(node: Node, index: int, shell: RemoteShell, config: CheckConfig, token: Path) -> None:
    """The machine's report and clock, or why there are none."""
    words = [config.python, "-m", f"{MODULES}.node_report"]
    words += ["--token", str(token), "--own", str(_own(token, index))]
    words += ["--port", str(config.port)] if index == 0 else []
    try:
        process = shell.start(node.host, words)
    except AnomalystError as error:
        node.problem = str(error)
        return
    late = threading.Timer(config.patience, process.kill)
    late.start()
    try:
        assert process.stdout and process.stdin
        line = process.stdout.readline()
        if line.startswith("{"):
            node.report = json.loads(line)
            node.clock, node.doubt = _clock(process)
        else:
            node.problem = _why(node.host, process, shell, config, late=not late.is_alive())
    except (OSError, ValueError) as error:
        node.problem = f"{node.host}: broke off while it answered ({error})."
    finally:
        late.cancel()
        process.kill()
        process.wait()


def _clock(process: "subprocess.Popen[str]") -> tuple[float, float]:
    """Cristian's algorithm (1989): of some answers the fastest, taken to be given halfway."""
    assert process.stdin and process.stdout
    found = []
    for _ in range(PINGS):
        asked = time.time()
        process.stdin.write("\n")
        process.stdin.flush()
        told = float(process.stdout.readline())
        answered = time.time()
        found.append(((answered - asked) / 2, told - (asked + answered) / 2))
    doubt, ahead = min(found)
    return ahead, doubt


def _why(
    host: str, process: "subprocess.Popen[str]", shell: RemoteShell, config: CheckConfig, *,
    late: bool,
) -> str:  # fmt: skip
    """A sentence about a machine that sent no report."""
    if late:
        return (
            f"{host}: no answer in {config.patience:g} s; is it up, and does the name lead there?"
        )
    _, said = process.communicate()
    last = ([line for line in said.strip().splitlines() if line.strip()] or ["nothing"])[-1]
    if "No module named" in last:
        return (
            f"{host}: its installation is not complete ({last.strip()}); use the same image on "
            f"all machines, or install Anomalyst for {config.python} there."
        )
    tried = " ".join(shell.words(host, "true"))
    return (
        f"{host}: not reachable, or {config.python} is not there (status {process.returncode}: "
        f"{last.strip()}); try `{tried}`."
    )


def _problems(nodes: Sequence[Node], written: Mapping[str, bool], config: CheckConfig) -> list[str]:
    """All that speaks against a start, a sentence each."""
    found = [one.problem for one in nodes if one.problem]
    answered = [one for one in nodes if one.report]
    for node in answered:
        found += _own_problems(node, written[node.host], config)
    for name in ALIKE:
        values = {one.host: _compared(name, one.report) for one in answered}
        if len(set(values.values())) > 1:
            listed = ", ".join(f"{host} has {value}" for host, value in values.items())
            found.append(f"{name}: {listed}; all machines need the same, as one image gives it.")
    if answered:
        first, last = (pick(answered, key=lambda one: one.clock) for pick in (min, max))
        apart = last.clock - first.clock
        if apart - first.doubt - last.doubt > config.clock_seconds:
            found.append(
                f"clocks: {last.host} is {apart:.1f} s ahead of {first.host}, more than "
                f"{config.clock_seconds:g} s; let both follow one time server (chrony)."
            )
    return found


def _own_problems(node: Node, written: bool, config: CheckConfig) -> list[str]:
    report, found = node.report, []
    if report["missing"]:
        found.append(
            f"{node.host}: its installation is not complete: {', '.join(report['missing'])}; "
            "build the image, or install the package, again."
        )
    if not report["shared"]["ok"]:
        found.append(
            f"{node.host}: {report['shared']['why']}; recipes, data and runs must be at one path "
            "on all machines, so mount it there (NFS, or the same volume)."
        )
    elif not written:
        found.append(
            f"{node.host}: what it writes into {config.shared} is not seen here, so it is another "
            "folder; mount the same one."
        )
    if report.get("port_in_use"):
        found.append(
            f"{node.host}: port {config.port} is in use; say another with --port, or end what "
            "listens there."
        )
    if report["gpus"] and len(report["gpus"]) < node.slots:
        found.append(f"{node.host}: {node.slots} slots and {len(report['gpus'])} GPUs.")
    return found


def _compared(name: str, report: Mapping[str, Any]) -> str:
    """Python's patch level does not matter."""
    value = str(report[name])
    return value.rpartition(".")[0] if name == "python" else value


def _measured(
    nodes: Sequence[Node], shell: RemoteShell, config: CheckConfig
) -> tuple[list[dict[str, float]], str]:
    """All-reduce over one process of each machine; rows, or what went wrong."""
    master = f"{config.master or nodes[0].host}:{config.port}"
    words = [config.python, "-m", f"{MODULES}.bandwidth", "--world", str(len(nodes))]
    words += ["--master", master]
    started: list[subprocess.Popen[str]] = []

    def give_up() -> None:
        for one in started:
            one.kill()

    try:
        for i, node in enumerate(nodes):
            started.append(shell.start(node.host, [*words, "--rank", str(i)]))
    except AnomalystError:
        give_up()
        raise

    late = threading.Timer(config.patience, give_up)
    late.start()
    told = [one.communicate() for one in started]
    late.cancel()
    line = next((x for x in told[0][0].splitlines() if x.startswith("[")), "")
    if line and not any(one.returncode for one in started):
        return json.loads(line), ""
    # The first, where all meet, waits in vain for the one that does not come.
    worst = next(i for i in reversed(range(len(started))) if started[i].returncode or not line)
    last = (told[worst][1].strip().splitlines() or ["nothing"])[-1]
    return [], (
        f"{nodes[worst].host}: did not meet the others at {master} (status "
        f"{started[worst].returncode}: {last}); its firewall must let them through, and --master "
        "must be an address that all reach."
    )
