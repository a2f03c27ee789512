"""What the process that model processes are forked from has read, frozen.

The garbage collector writes into every object that it looks at; frozen ones it leaves alone, so
that their memory stays shared with the processes that are forked.
"""

import gc

import anomalyst.server.jobs.worker  # noqa: F401  the model's code, and torch

gc.collect()
gc.freeze()
