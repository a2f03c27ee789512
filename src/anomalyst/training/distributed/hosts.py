"""Machines by a hostfile, and a command on each of them through a remote shell."""

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anomalyst.errors import AnomalystError

DEFAULT_PORT = 29500  # of the first machine: where all meet, as torchrun has it
# Neither asks for a password nor waits long for a machine that is off.
SSH = "ssh -o BatchMode=yes -o ConnectTimeout=10"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteShell:
    """How a command gets to a machine.

    `template` is ssh's like: host and command are put behind it; or it names their places, as in
    `kubectl exec {host} -- sh -c {command}`.
    """

    template: str = SSH
    interface: str = ""  # network card of each machine for gloo and NCCL; empty: the name's

    def __post_init__(self) -> None:
        if ("{host}" in self.template) != ("{command}" in self.template):
            raise AnomalystError(
                f"--shell {self.template!r}: {{host}} and {{command}} are needed both, or neither."
            )

    def start(self, host: str, words: Sequence[str], *, folder: Path | None = None) -> (
        "subprocess.Popen[str]"
    ):  # fmt: skip
        """The words as a command on the host, in a folder there; its streams are pipes."""
        # Debian's own name of a machine leads to 127.0.1.1, where no other machine finds it.
        cards = [f"{one}_SOCKET_IFNAME={self.interface}" for one in ("GLOO", "NCCL")]
        command = shlex.join(["env", *cards, *words] if self.interface else words)
        if folder is not None:
            command = f"cd {shlex.quote(str(folder))} && exec {command}"
        try:
            return subprocess.Popen(
                self.words(host, command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                bufsize=1,
                # Ctrl-C is ours to pass on: the terminal would end the connection before they save.
                start_new_session=True,
            )
        except OSError as error:
            raise AnomalystError(
                f"--shell {self.template!r}: cannot be started ({error.strerror})."
            ) from None

    def words(self, host: str, command: str) -> list[str]:
        """What is started here."""
        parts = shlex.split(self.template)
        if "{host}" not in self.template:
            return [*parts, host, command]
        return [one.replace("{host}", host).replace("{command}", command) for one in parts]


def read_hosts(path: Path) -> Mapping[str, int]:
    """Machines and their processes of a file as DeepSpeed and MPI write it: `host slots=N` a line.

    Raises AnomalystError where it cannot be read, or machines have unequally many.
    """
    try:
        lines = [x.partition("#")[0].split() for x in path.read_text(encoding="utf-8").splitlines()]
        hosts = {words[0]: int(words[1].removeprefix("slots=")) for words in lines if words}
    except (OSError, UnicodeDecodeError, IndexError, ValueError) as error:
        raise AnomalystError(
            f"{path}: cannot be read as a hostfile ({error}); a line is `host slots=N`."
        ) from error
    if not hosts or len(set(hosts.values())) > 1:
        raise AnomalystError(f"{path}: the machines need equally many slots each, one at least.")
    return hosts
