"""The simulated queue beside closed forms, and what must hold of any queue."""

import json
import math

import numpy as np
import pytest
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.server.cluster.simulation import (
    FULL,
    ReplicaSpeed,
    Serving,
    Site,
    arrivals_of,
    fewest_replicas,
    run_events,
    simulate,
)


def one_by_one(replicas):
    return Serving(replicas=replicas, together=1, wait=0.0, ongoing=1)


def poisson(load, seconds=1500.0):
    return Site(cameras=1, rate=load, arrivals="random", seconds=seconds, seed=1)


def erlang_wait(servers, load):
    """Mean wait of M/M/c in service times (Erlang's C formula)."""
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    waiting = last / (sum(load**k / math.factorial(k) for k in range(servers)) + last)
    return waiting / (servers - load)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.6), (3, 2.1)])
def test_mean_wait_is_that_of_erlang(servers, load):
    speed = ReplicaSpeed(fixed=0.0, each=0.05, variation=1.0)  # exponential
    waits = simulate(poisson(load * 20), speed, one_by_one(servers))
    assert waits.mean_wait / 0.05 == pytest.approx(erlang_wait(servers, load), rel=0.08)
    assert waits.load == pytest.approx(load / servers, rel=0.03)


def test_mean_wait_of_equal_times_is_that_of_pollaczek_and_khinchine():
    waits = simulate(poisson(12.0), ReplicaSpeed(fixed=0.0, each=0.05), one_by_one(1))
    assert waits.mean_wait / 0.05 == pytest.approx(0.6 / (2 * (1 - 0.6)), rel=0.06)


def test_pictures_by_the_clock_never_wait_where_there_is_room():
    site = Site(cameras=1, rate=5.0, seconds=50)
    waits = simulate(site, ReplicaSpeed(fixed=0.0, each=0.1), one_by_one(1))
    assert waits.mean_wait == 0
    assert waits.p99 == pytest.approx(0.1)


def test_a_hand_worked_batch():
    """Pictures at 0, 1, 2; 5 s for one, 6 s for two: the last two wait for the first."""
    serving = Serving(replicas=1, together=4, wait=0.0, ongoing=10)
    speed = ReplicaSpeed(fixed=4.0, each=1.0)
    site = Site(cameras=1, rate=1.0, seconds=3.0)
    waits = run_events([0.0, 1.0, 2.0], speed, serving, seed=0, site=site)
    # Kept: those after 0.6 s. They begin at 5 and end at 11.
    assert waits.mean_wait == pytest.approx((4 + 3) / 2)
    assert (waits.p50, waits.together) == (pytest.approx(9.5), pytest.approx(1.5))


def test_every_picture_is_inspected_and_none_faster_than_one_alone():
    site = Site(cameras=40, rate=5.0, seconds=5, arrivals="random")
    speed = ReplicaSpeed(fixed=0.02, each=0.01)
    waits = simulate(site, speed, Serving(replicas=4, ongoing=8))
    assert waits.pictures == int((arrivals_of(site) >= 1.0).sum())
    assert waits.p50 >= speed.seconds(1)


def test_batches_make_a_replica_faster_when_starting_one_is_dear():
    speed = ReplicaSpeed(fixed=0.1, each=0.01)
    site = Site(cameras=100, rate=1.0, seconds=20)
    alone = simulate(site, speed, Serving(replicas=4, together=1))
    together = simulate(site, speed, Serving(replicas=4, together=16))
    assert not alone.keeps_up
    assert together.keeps_up
    assert together.together > 2


@pytest.mark.parametrize("within", [0.12, 1.0])
def test_fewest_replicas_do_it_and_one_fewer_does_not(within):
    site, speed = Site(cameras=50, rate=2.0, seconds=10), ReplicaSpeed(fixed=0.0, each=0.05)
    serving, waits = fewest_replicas(site, speed, within=within)
    assert waits.keeps_up and waits.p95 <= within
    fewer = serving.replicas - 1
    less = simulate(site, speed, Serving(replicas=fewer))
    too_full = site.per_second > FULL * fewer * speed.most_per_second(16)
    assert too_full if within == 1.0 else less.p95 > within


def test_cameras_by_their_own_clocks_come_evenly():
    times = arrivals_of(Site(cameras=20, rate=3.0, seconds=10))
    assert len(times) == 600
    assert (np.diff(times) >= 0).all()


def test_plan_command_reads_a_replica_and_names_the_replicas(tmp_path):
    path = tmp_path / "replica.json"
    path.write_text(json.dumps({"fixed": 0.01, "each": 0.02}))
    words = ["plan", "--cameras", "20", "--rate", "5", "--replica", str(path)]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert "anomalyst serve --ray --replicas" in shown.output
    found = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert found["waits"]["offered"] == 100
    assert found["waits"]["p95"] <= 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ('{"fixed": 0, "eich": 1}', "each"),
        ("nonsense", "cannot be read as a replica's speed"),
        ('{"fixed": -1, "each": 0.1}', "neither may be negative"),
        ('{"fixed": 0, "each": 3.0}', "one picture alone takes 3 s"),
    ],
)
def test_a_replica_that_cannot_be_is_refused(tmp_path, values, said):
    path = tmp_path / "replica.json"
    path.write_text(values)
    found = CliRunner().invoke(app, ["plan", "--cameras", "2", "--replica", str(path)])
    assert isinstance(found.exception, AnomalystError)
    assert said in str(found.exception)
