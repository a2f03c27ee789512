"""All-reduce between machines, timed: run on each of them by `cluster check`.

    python -m anomalyst.training.distributed.bandwidth --rank 0 --world 2 --master HOST:PORT

The first prints JSON: for each size its median seconds, and GB/s on each link of a ring, which
carries 2 (p - 1) / p of the bytes (Patarasuk and Yuan 2009).
"""

import argparse
import json
import statistics
import time
from datetime import timedelta

SIZES = tuple(4**k for k in range(4, 12, 2))  # numbers of four bytes: 1 KiB to 4 MiB
REPEATS = 9
MEETING = 60.0  # seconds that the others may take to come


def measure(world: int) -> list[dict[str, float]]:
    """Of a group that is there."""
    import torch
    import torch.distributed as dist

    rows = []
    for numbers in SIZES:
        values, seconds = torch.ones(numbers), []
        for repeat in range(REPEATS + 1):
            begun = time.perf_counter()
            dist.all_reduce(values)
            if repeat:  # the first one connects
                seconds.append(time.perf_counter() - begun)
        took, sent = statistics.median(seconds), 4 * numbers
        rows.append({"bytes": sent, "seconds": took,
                     "gb_per_second": 2 * (world - 1) / world * sent / took / 1e9})  # fmt: skip
    return rows


def main() -> None:
    """Meet, measure, part."""
    import torch.distributed as dist

    parser = argparse.ArgumentParser()
    parser.add_argument("--rank", type=int, required=True)
    parser.add_argument("--world", type=int, required=True)
    parser.add_argument("--master", required=True)
    asked = parser.parse_args()
    dist.init_process_group(
        "gloo",
        init_method=f"tcp://{asked.master}",
        rank=asked.rank,
        world_size=asked.world,
        timeout=timedelta(seconds=MEETING),
    )
    rows = measure(asked.world)
    if asked.rank == 0:
        print(json.dumps(rows), flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
