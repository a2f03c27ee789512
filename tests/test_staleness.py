"""BSP, SSP and ASP: one implementation, equal to plain sums where it must be; failures; refusals.

Most runs are of threads, each a member of real gloo groups: the same code without the start of
processes. The last ones are real processes.
"""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.distributed.algorithms.model_averaging.averagers import PeriodicModelAverager
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.config import from_mapping, to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.training.experiments.staleness.bench import bench_staleness, refuse_losses
from anomalyst.training.experiments.staleness.claims import answers
from anomalyst.training.experiments.staleness.config import (
    Case,
    StalenessBench,
    Work,
    read_bound,
)
from anomalyst.training.experiments.staleness.digits import DigitTask, draw_set
from anomalyst.training.experiments.staleness.failures import Failure
from anomalyst.training.experiments.staleness.gossip import partners
from anomalyst.training.experiments.staleness.links import Clock, Report, open_link
from anomalyst.training.experiments.staleness.pool import meeting_store
from anomalyst.training.experiments.staleness.process import Order, do_order
from anomalyst.training.experiments.staleness.results import Result, path_of, result_of
from anomalyst.training.experiments.staleness.server import ParameterServer

pytestmark = pytest.mark.usefixtures("one_thread")
WORK = Work(batches=24, batch=4, pictures=80, learning_rate=0.2, patience_s=20)


@pytest.fixture(scope="module")
def digits():
    return draw_set(WORK)


def in_threads(case, digits, work=WORK, step_s=0.0):
    """The reports of a run, its processes being threads."""
    store, order = dist.HashStore(), Order(number=1, case=case, step_s=step_s)

    def one(rank):
        return do_order(order, rank, store, DigitTask(digits, work))

    with ThreadPoolExecutor(case.processes) as threads:
        return list(threads.map(one, range(case.processes)))


def plainly(case, digits, mix, work=WORK):
    """Weights (workers, D) after rounds of own steps and `mix(weights, clock)`, one after other."""
    task = DigitTask(digits, work)
    weights = torch.stack([task.start()] * case.workers)
    for clock in range(work.batches // case.workers):
        steps = [task.gradient(w, k, case.workers, clock) for k, w in enumerate(weights)]
        weights = mix(weights - work.learning_rate * torch.stack(steps), clock + 1)
    return weights


@pytest.mark.parametrize("servers", [1, 2])
def test_bound_0_at_a_server_is_the_step_of_one_process_on_all_batches(digits, servers):
    case = Case(workers=3, servers=servers)
    expected = plainly(case, digits, lambda w, _: w.mean(0).expand_as(w))[0]
    reports = in_threads(case, digits)
    parts = [torch.from_numpy(r.snapshots[-1].weights) for r in reports if r.role == "server"]
    assert torch.allclose(torch.cat(parts), expected, atol=1e-5)
    assert not torch.allclose(expected, DigitTask(digits, WORK).start(), atol=1e-2)
    assert all(set(r.lag) == {0} for r in reports if r.role == "server")


@pytest.mark.parametrize(("bound", "most"), [(0, 0), (2, 2), (None, 99)])
def test_a_worker_is_never_further_ahead_than_the_bound(digits, bound, most):
    case = Case(workers=2, straggler=8, bound=bound)
    *workers, server = in_threads(case, digits, replace(WORK, batches=16), step_s=0.03)
    assert max(server.lag) <= most and sum(server.lag.values()) == server.steps == 16
    if bound is None:
        assert max(server.lag) > 2 and workers[0].steps > workers[1].steps
        assert workers[0].idle_s < 0.05
    else:
        assert max(server.lag) == bound and workers[0].idle_s > 0.2


def test_ring_and_random_partners_average_as_their_matrices_say(digits):
    def ring(weights, _):
        return (weights + weights.roll(1, 0) + weights.roll(-1, 0)) / 3

    def pairs(weights, clock):
        rows = [[k, *partners("random", k, 4, clock)] for k in range(4)]
        return torch.stack([weights[row].mean(0) for row in rows])

    for topology, mix in (("ring", ring), ("random", pairs)):
        case = Case(topology=topology, workers=4)
        expected = plainly(case, digits, mix)
        reports = in_threads(case, digits)
        found = torch.stack([torch.from_numpy(r.snapshots[-1].weights) for r in reports])
        assert torch.allclose(found, expected, atol=1e-5), topology
        assert all(set(r.lag) <= {0} for r in reports)


def test_partners_are_pairs_that_both_sides_draw():
    for clock in range(20):
        of = {k: partners("random", k, 5, clock) for k in range(5)}
        assert sum(not other for other in of.values()) == 1
        assert all(of[other[0]] == [k] for k, other in of.items() if other)


def test_neighbours_in_a_ring_without_a_bound_all_end(digits):
    case = Case(topology="ring", workers=3, straggler=4, bound=None)
    reports = in_threads(case, digits, step_s=0.01)
    assert sum(r.steps for r in reports) == WORK.batches
    assert [r.ended for r in reports] == ["finished"] * 3 and not any(r.lost for r in reports)
    assert reports[0].steps > reports[2].steps


def test_averages_every_h_steps_equal_local_sgd_and_a_nesterov_step_of_torch(digits):
    task, every = DigitTask(digits, WORK), 4
    for topology in ("local", "diloco"):
        case = Case(topology=topology, workers=2, every=every)
        shared = task.start().requires_grad_()
        outer = torch.optim.SGD([shared], WORK.outer_rate, WORK.outer_momentum, nesterov=True)
        for turn in range(WORK.batches // (2 * every)):
            ends = []
            for worker in range(2):
                weights = shared.detach().clone()
                for clock in range(turn * every, (turn + 1) * every):
                    weights -= WORK.learning_rate * task.gradient(weights, worker, 2, clock)
                ends.append(weights)
            mean = torch.stack(ends).mean(0)
            if topology == "local":
                shared = mean
            else:
                shared.grad = shared.detach() - mean
                outer.step()
        reports = in_threads(case, digits)
        for report in reports:
            found = torch.from_numpy(report.snapshots[-1].weights)
            assert torch.allclose(found, shared.detach(), atol=1e-5), topology


def test_a_result_has_a_curve_and_survives_json(digits):
    case = Case(workers=2, straggler=2, bound=1)
    task = DigitTask(digits, WORK)
    reports = in_threads(case, digits, step_s=0.002)
    result = result_of(case, WORK, reports, task)
    assert result.curve[0][:2] == (0, 0.0) and result.curve[-1][0] == WORK.batches
    assert [done for done, _, _ in result.curve] == list(range(25))
    assert result.samples_per_second == pytest.approx(4 * 24 / result.seconds)
    assert reports[2].bytes == reports[0].bytes + reports[1].bytes  # all goes through the server
    again = from_mapping(Result, json.loads(json.dumps(to_mapping(result))))
    assert again == result


def test_a_model_whose_server_died_is_lost():
    lonely = Report(rank=0, role="worker", steps=3, ended="stopped: closed")
    assert path_of([lonely]) == []


def test_a_run_that_lost_a_worker_by_itself_does_not_count():
    server = Report(rank=2, role="server", lost=[1])
    with pytest.raises(AnomalystError, match="process 1 was silent for --patience-s 5 and"):
        refuse_losses(Case(), [server], 5)
    refuse_losses(Case(), [replace(server, lost=[])], 5)


def test_a_worker_that_never_sends_is_given_up():
    store, report = dist.HashStore(), Report(rank=2, role="server")

    def open_all(rank):
        others = [2] if rank < 2 else [0, 1]
        return {other: open_link(store, rank, other, 20 if rank < 2 else 1.0) for other in others}

    with ThreadPoolExecutor(3) as threads:
        quick, _silent, served = threads.map(open_all, range(3))
    server = ParameterServer(torch.zeros(3), 1.0, 0, served, report)
    serving = threading.Thread(target=server.run, args=(Clock(0.0, 0.0), 1))
    serving.start()
    quick[2].put(1, torch.ones(3))  # bound 0: it waits for the silent one
    _, weights, waited = quick[2].take()
    quick[2].put(-1)
    serving.join(timeout=20)
    assert weights.tolist() == [-1, -1, -1] and waited > 0.5
    assert report.lost == [1] and not serving.is_alive()


def result(bound, loss, speed, idle=0.0, **case):
    return Result(
        case=Case(bound=bound, **case), curve=[], loss=loss, accuracy=0.9, worst_accuracy=0.8,
        disagreement=0.1, seconds=1, samples_per_second=speed, idle_share=idle,
        fast_idle_share=idle, exchange_share=0.1, steps=[1], lag={}, delay={}, server_mb=4,
        worker_mb=1,
    )  # fmt: skip


def test_claims_are_answered_by_differences_that_can_be_seen():
    settings = [(2, 1.0), (2, 2.0), (4, 1.0), (4, 4.0)]
    found = []
    for index, (workers, straggler) in enumerate(settings):
        case = {"workers": workers, "straggler": straggler}
        noise = (-1) ** index
        found += [
            result(0, 0.50, 100 + noise, 0.5, **case),
            result(3, 0.50 + 0.2 * noise, 150 + noise, 0.2, **case),
            result(None, 0.61 + 0.001 * noise, 300, 0.0, **case),
        ]
    said = {one.claim: one for one in answers(found, [])}
    assert said["ASP converges worse than BSP at a server"].holds
    between = said["SSP converges between the two at a server"]
    assert not between.holds and "0.000 ± 0.367" in between.figures
    assert said["ASP makes the best use at a server (samples/s beside a straggler)"].holds
    assert said["SSP's use lies between at a server (samples/s beside a straggler)"].holds
    traffic = next(one for name, one in said.items() if "bottleneck" in name)
    assert traffic.holds and "4 workers: 4.0 times" in traffic.figures


def test_claims_about_failures_count_what_went_on():
    def failed(topology, victim, finished):
        return Failure(
            case=Case(topology=topology, workers=4), victim=victim, how="killed", batches_before=5,
            batches_after=3, longest_pause_s=0.1, finished=finished, left=3, accuracy=0.5,
        )  # fmt: skip

    said = answers([], [failed("server", "server", 0), failed("ring", "worker", 2)])
    assert [one.holds for one in said] == [True, False]
    assert failed("ring", "worker", 2).goes_on == "2 of 3 go on"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"workers": (1,)}, "2 at least"),
        ({"workers": (3,), "work": Work(batches=100)}, "a multiple of 3"),
        ({"every": (7,)}, "a multiple of 14"),
        ({"stragglers": (0.5,)}, "1 or more"),
        ({"topologies": ("star",)}, "there is none"),
        ({"bounds": (-2,)}, "0 or more, or inf"),
    ],
)
def test_what_cannot_be_run_is_refused(words, said):
    with pytest.raises(AnomalystError, match=said):
        StalenessBench(**words)


def test_bounds_and_ports_are_refused_with_a_sentence():
    assert [read_bound(text) for text in ("0", "10", "inf")] == [0, 10, None]
    with pytest.raises(AnomalystError, match="a whole number of iterations, or inf"):
        read_bound("few")
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        with pytest.raises(AnomalystError, match=f"--port {port}: cannot be listened at"):
            meeting_store(port)


def test_bench_of_real_processes_writes_its_page_and_goes_on(tmp_path):
    words = ["--topology", "server", "--workers", "2", "--straggler", "1", "--straggler", "3",
             "--bound", "0", "--bound", "1", "--bound", "inf", "--batches", "8", "--servers", "1",
             "--step-ms", "5", "--no-failures", "--patience-s", "60"]  # fmt: skip
    done = CliRunner().invoke(app, ["bench", "staleness", *words, "--out", str(tmp_path)])
    assert done.exit_code == 0, (done.output, done.exception)
    assert "| BSP | 2 | 3x |" in done.output and "BSP converges best" in done.output
    assert (tmp_path / "staleness.html").stat().st_size > 50_000
    whole = json.loads((tmp_path / "staleness.json").read_text())
    assert len(whole["results"]) == 6 and whole["step_ms"] == 5
    kept = (tmp_path / "runs" / "server-2-x3-s1.json").read_text()
    again = CliRunner().invoke(app, ["bench", "staleness", *words, "--out", str(tmp_path)])
    assert again.exit_code == 0  # nothing is run twice
    assert (tmp_path / "runs" / "server-2-x3-s1.json").read_text() == kept
    words[words.index("8")] = "16"
    other = CliRunner().invoke(app, ["bench", "staleness", *words, "--out", str(tmp_path)])
    assert isinstance(other.exception, AnomalystError) and "holds a study" in str(other.exception)


def torch_itself(rank, store_file, every, digits, pipe):
    """A process of two: weights by DDP, and by torch's own averager of local SGD."""
    torch.set_num_threads(1)
    store = dist.FileStore(store_file, 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    found = []
    for averager in (None, PeriodicModelAverager(period=every, warmup_steps=every - 1)):
        task = DigitTask(digits, WORK)
        vector_to_parameters(task.start(), task.network.parameters())
        model = task.network if averager else DistributedDataParallel(task.network)
        optimizer = torch.optim.SGD(model.parameters(), WORK.learning_rate)
        for clock in range(WORK.batches // 2):
            rows = task.rows(rank, 2, clock)
            optimizer.zero_grad()
            F.cross_entropy(model(task.seen[rows]), task.labels[rows]).backward()
            optimizer.step()
            if averager:
                averager.average_parameters(model.parameters())
        found.append(parameters_to_vector(model.parameters()).detach().numpy())
    if rank == 0:  # one reader, one message
        pipe.send(found)
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.slow
def test_torchs_own_ddp_and_averager_come_to_the_same_weights(digits, tmp_path):
    context, every = get_context("spawn"), 4
    ours, theirs = context.Pipe()
    given = (str(tmp_path / "store"), every, digits, theirs)
    processes = [context.Process(target=torch_itself, args=(rank, *given)) for rank in range(2)]
    for process in processes:
        process.start()
    ddp, averaged = ours.recv()
    for process in processes:
        process.join()
    at_server = in_threads(Case(workers=2), digits)[-1].snapshots[-1].weights
    rounds = in_threads(Case(topology="local", workers=2, every=every), digits)
    assert np.allclose(at_server, ddp, atol=1e-5)
    assert np.allclose(rounds[0].snapshots[-1].weights, averaged, atol=1e-5)
    assert not np.allclose(ddp, averaged, atol=1e-3)


@pytest.mark.slow
def test_killed_workers_and_servers(tmp_path):
    bench = StalenessBench(
        topologies=("server", "ring", "local"), workers=(3,), stragglers=(1.0,), bounds=(0,),
        every=(2,), servers=1, work=replace(WORK, batches=60, step_ms=20, patience_s=4),
    )  # fmt: skip
    found = {one.name: one for one in bench_staleness(bench, tmp_path).failures}
    for rule in ("s0", "sinf"):
        for kind in ("worker-killed", "worker-never-returns"):
            assert found[f"server-3-x1-{rule}-{kind}"].goes_on == "goes on to the end"
            assert found[f"ring-3-x1-{rule}-{kind}"].goes_on == "goes on to the end"
        lost = found[f"server-3-x1-{rule}-server-killed"]
        assert lost.goes_on == "all stop" and lost.accuracy is None
    assert found["local-3-x1-h2-worker-killed"].goes_on == "all stop"
    pause = found["server-3-x1-s0-worker-never-returns"].longest_pause_s
    assert 3 < pause < 20  # the others wait for the silent one as long as their patience


@pytest.mark.slow
def test_rays_parameter_server_comes_to_the_same_loss(tmp_path):
    pytest.importorskip("ray", reason="Ray is the extra 'scale'")
    bench = StalenessBench(
        topologies=("server",), workers=(2,), stragglers=(1.0, 4.0), bounds=(0, None), servers=1,
        failures=False, ray=True, work=Work(batches=40, pictures=200, step_ms=20),
    )  # fmt: skip
    found = bench_staleness(bench, tmp_path)
    ours = {one.case: one for one in found.results}
    for one in found.ray:
        if one.case.bound == 0:  # asynchronous runs take gradients in the order they come
            assert one.loss == pytest.approx(ours[one.case].loss, abs=1e-5)
        assert sum(one.steps) == 40
    slow = next(r for r in found.ray if r.case.bound is None and r.case.straggler == 4)
    assert slow.steps[0] > slow.steps[1]  # by how much depends on how busy the machine is
    assert bench_staleness(bench, tmp_path) == found  # read back, nothing is run again
