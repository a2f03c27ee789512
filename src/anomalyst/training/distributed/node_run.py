"""Runs a command on one machine and ends it when whoever started it is gone.

    python -m anomalyst.training.distributed.node_run COMMAND...

A remote shell without a terminal leaves its command running when it is cut; here the command lives
as long as standard input is open. It is asked to end first, so that a training saves.
"""

import os
import signal
import subprocess
import sys
import threading

PATIENCE = 60.0  # seconds to save in


def run(words: list[str]) -> int:
    """The command's exit status."""
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL)

    def watch() -> None:
        # Not sys.stdin, whose lock a thread that waits would keep beyond the end.
        while os.read(0, 1024):
            pass
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()

    threading.Thread(target=watch, daemon=True).start()
    status = process.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
