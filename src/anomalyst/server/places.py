"""Which of the servers over one home a server is, and which of the others are gone."""

from itertools import count
from pathlib import Path

from anomalyst.io.locks import Lock

OWNER = "server"  # of the first place; the next ones are called "server 2", ...


class ServerPlace:
    """The first free one of the places 1, 2, ...: a file that is locked as long as we live.

    A server that starts again takes the place that it had, if no other did meanwhile.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        for number in count(1):
            self._lock = self._lock_of(number)
            if self._lock.take():
                break
        self.owner = OWNER if number == 1 else f"{OWNER} {number}"

    def is_gone(self, owner: str) -> bool:
        """Whether a server of that name is not there any more; of other owners it is not known."""
        name, _, number = owner.partition(" ")
        if owner == self.owner or name != OWNER or (number and not number.isdecimal()):
            return False
        lock = self._lock_of(int(number or 1))
        gone = lock.take()
        lock.release()
        return gone

    def leave(self) -> None:
        """Let another have the place."""
        self._lock.release()

    def _lock_of(self, number: int) -> Lock:
        return Lock(self.folder / f"{number}.lock")
