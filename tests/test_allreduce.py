"""All-reduce: the same result in every way, the messages that theory counts, a picture of them."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import reduce

import pytest
import torch
import torch.distributed as dist
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.training.distributed.wire import Sent, Wire, gloo_group
from anomalyst.training.experiments.allreduce import bench
from anomalyst.training.experiments.allreduce.animation import draw_animation, turns_of
from anomalyst.training.experiments.allreduce.ways import OPERATIONS, WAYS, theory

# Portions sent by the busiest and by all, of 4 workers whose message has 4 portions.
PORTIONS = {
    "naive": (12, 48), "driver": (12, 24), "tree": (8, 24), "ring": (6, 24),
    "round-robin": (6, 24), "butterfly": (6, 24),
}  # fmt: skip


def among(world, work):
    """`work(wire)` in as many threads, each a member of one gloo group."""
    store = dist.HashStore()

    def member(rank):
        return work(Wire(gloo_group(store, "all", rank, world, 20), traced=True))

    with ThreadPoolExecutor(world) as threads:
        return list(threads.map(member, range(world)))


@pytest.mark.parametrize("world", [2, 3, 4, 6])
def test_every_way_and_operation_equals_plain_reduction(world):
    generator = torch.Generator().manual_seed(0)
    given = torch.randint(-3, 4, (world, 13), generator=generator).float()  # exact in any order
    for way, run in WAYS.items():
        for name, combine in OPERATIONS.items():
            expected = reduce(combine, given)
            found = among(world, lambda w, r=run, c=combine: r(given[w.rank].clone(), w, c))
            assert all(torch.equal(one, expected) for one in found), (way, name)


@pytest.mark.parametrize("way", WAYS)
def test_four_workers_send_the_portions_of_the_source(way):
    def work(wire):
        WAYS[way](torch.ones(4), wire, torch.add)
        return wire.messages, wire.bytes

    counted = among(4, work)
    sent = [size // 4 for _, size in counted]  # portions of one number
    assert (max(sent), sum(sent)) == PORTIONS[way]
    said = theory(way, 4, 4)
    assert said.messages == sum(messages for messages, _ in counted)
    assert (said.most_bytes, said.all_bytes) == (4 * max(sent), 4 * sum(sent))


def test_three_and_five_workers_send_what_the_theory_says():
    for world in (3, 5):
        for way, run in WAYS.items():
            numbers = 60
            wires = among(world, lambda w, r=run: (r(torch.ones(60), w, torch.add), w)[1])
            said = theory(way, world, numbers)
            assert sum(w.messages for w in wires) == said.messages, (way, world)
            assert sum(w.bytes for w in wires) == said.all_bytes, (way, world)
            assert max(w.bytes for w in wires) == said.most_bytes, (way, world)


def test_animation_follows_the_messages_of_both_phases_of_the_ring():
    messages = bench.messages_of("ring", 4)
    turns = turns_of(messages, 4)
    assert [turn.reduces for turn in turns] == [True] * 3 + [False] * 4
    done = [[bits == 15 for bits in row] for row in turns[3].before]  # after share-reduce
    assert [sum(row) for row in done] == [1, 1, 1, 1]  # each one finished portion
    assert turns[-1].before == ((15,) * 4,) * 4 and turns[-1].counted == (6,) * 4
    drawn = draw_animation("ring", messages, 4)
    assert drawn.count("<animateTransform") == 24 and "by the busiest 6, by all 24" in drawn


def test_one_traced_message_is_replayed_as_it_was():
    sent = Sent(turn=0, source=1, to=0, first=1, values=(2.0,))
    (first, last) = turns_of([sent], 2)
    assert first.before == ((1, 1), (2, 2)) and last.before == ((1, 3), (2, 2))


def test_a_member_that_counts_others_is_refused():
    store = dist.HashStore()
    store.compare_set("all/world", "", "3")
    with pytest.raises(AnomalystError, match="started for 4 processes, another for 3"):
        gloo_group(store, "all", 0, 4, 1)


def test_bench_writes_figures_and_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    words = ["--nproc", "2", "--operation", "max", "--largest-kib", "4", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, ["bench", "allreduce", *words])
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "allreduce.json").read_text())
    for row in (r for r in rows if r["way"] in WAYS):
        said = theory(row["way"], 2, row["numbers"])
        assert row["sent"] == {"messages": said.messages, "most_bytes": said.most_bytes,
                               "all_bytes": said.all_bytes}  # fmt: skip
    assert {r["numbers"] for r in rows if r["way"] == "gloo"} == {256, 1024}
    assert all((tmp_path / f"allreduce-{way}.svg").exists() for way in WAYS)
    assert "portions by the busiest" in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--operation", "mean"], "choose one of sum"), (["--nproc", "1"], "2 processes at least")],
)
def test_bench_refuses(words, said, tmp_path):
    done = CliRunner().invoke(app, ["bench", "allreduce", *words, "--out", str(tmp_path)])
    assert isinstance(done.exception, AnomalystError) and said in str(done.exception)
