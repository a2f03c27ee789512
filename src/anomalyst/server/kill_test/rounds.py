"""So many kills, spread over the acts and over their time; each followed by a start and checks."""

import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomalyst.server.kill_test import ACTS
from anomalyst.server.kill_test.acts import Act, CorrectThree, InspectThree, TeachMore
from anomalyst.server.kill_test.checks import checked, make_beginning
from anomalyst.server.kill_test.commands import BackUp, Migrate
from anomalyst.server.kill_test.forks import Ended, Point, Step, StepLog, worked
from anomalyst.server.kill_test.workplace import Workplace, hidden_below, make_workplace

COMPUTING_S = 0.05  # since the last step: no writing is under way
LONGEST_GAP_S = 0.05  # after a step that is aimed at
ALONE = 0.25  # share of kills that hit the server and leave its model process to itself
WORKS: tuple[Act, ...] = (TeachMore(), InspectThree(), CorrectThree(), BackUp(), Migrate())
BY_NAME = dict(zip(ACTS, WORKS, strict=True))
Told = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One kill, and what was found afterwards."""

    act: str
    aimed: bool  # at a write; else at any time
    alone: bool  # the server; its model process was left to itself
    seconds: float  # after the beginning
    last_step: str  # that was begun: "rename products/flange/product.json"
    computing: bool  # some time after it
    finished: bool  # all was acknowledged already
    acknowledged: int
    left: int  # half-written files and folders, before the next start
    checked_seconds: float  # the next start with all checks
    problems: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """An act that nobody killed."""

    seconds: float
    steps: list[Step]
    judged: list[str]  # what the product makes of a picture: before, after


def bench_kills(
    names: Sequence[str], kills: int, seed: int, told: Told = lambda *_: None
) -> Iterator[Kill]:
    """So many kills in all, the acts in turn, half of each act's aimed at its writes."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="anomalyst-kills-") as folder:
        told("Reading the model", 0, kills)
        rounds = Rounds(make_workplace(Path(folder)))
        rounds.prepare()
        for name in names:
            told(f"Measuring {name}", 0, kills)
            rounds.measure(BY_NAME[name])
        for number in range(kills):
            name = names[number % len(names)]
            told(f"Killing {name}", number, kills)
            yield rounds.kill(BY_NAME[name], chance, aimed=number // len(names) % 2 == 1)


class Rounds:
    """Kills of acts on one workplace."""

    def __init__(self, place: Workplace):
        self.place = place
        self.whole: dict[str, Whole] = {}
        self._said, self._answer = place.folder / "said", place.folder / "answer"
        self._log, self._words = place.folder / "steps", place.folder / "words"
        self._temporary = place.folder / "temporary"

    def prepare(self) -> None:
        """Teach the small product, inspect, back up: what every kill begins with."""
        self._asked(lambda: make_beginning(self.place))
        self.place.keep_as_beginning()

    def measure(self, act: Act) -> Whole:
        """The act as it goes when nobody kills it. Raises AssertionError where it fails even so."""
        done = self._done(act, None)
        report = self._asked(lambda: checked(self.place, act, self._acknowledged(), []))
        if problems := [*([done.problem] if done.problem else []), *report["problems"]]:
            raise AssertionError(f"{act.name}, not killed: {'; '.join(problems)}")
        self.place.begin()
        before = self._asked(lambda: self.place.judged_now())
        self.whole[act.name] = Whole(
            seconds=done.seconds, steps=done.steps, judged=[before, report["judged"]]
        )
        return self.whole[act.name]

    def kill(self, act: Act, chance: random.Random, *, aimed: bool) -> Kill:
        """One kill of the act, and the next start."""
        whole, alone = self.whole[act.name], chance.random() < ALONE
        ended = self._done(act, _point(whole, chance, aimed=aimed), alone=alone)
        left = len(hidden_below(self.place.now)) + len(list(self._temporary.iterdir()))
        said, began = self._acknowledged(), time.monotonic()
        problems = [ended.problem] if ended.problem else []
        try:
            report = self._asked(lambda: checked(self.place, act, said, whole.judged))
            problems += report["problems"]
        except AssertionError as error:
            problems.append(f"the next start: {error}")
        last = ended.steps[-1] if ended.steps else Step(at=0.0, what="nothing written yet")
        return Kill(
            act=act.name, aimed=aimed, alone=alone, seconds=round(ended.seconds, 4),
            last_step=last.what, computing=ended.seconds - last.at > COMPUTING_S,
            finished=ended.finished, acknowledged=len(said), left=left,
            checked_seconds=round(time.monotonic() - began, 2), problems=problems,
        )  # fmt: skip

    def _done(self, act: Act, point: Point | None, *, alone: bool = False) -> Ended:
        self.place.begin()
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._temporary.mkdir()
        handle = os.open(self._said, os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_WRONLY)

        def acknowledge(*said: Any) -> None:
            os.write(handle, (json.dumps(said) + "\n").encode())

        def work() -> None:
            tempfile.tempdir = str(self._temporary)
            act.work(self.place, acknowledge)

        ended = self._forked(work, point, alone=alone)
        os.close(handle)
        return ended

    def _acknowledged(self) -> list[list[Any]]:
        return [json.loads(line) for line in self._said.read_text().splitlines()]

    def _asked(self, work: Callable[[], Any]) -> Any:
        """What a fork answers, so that this process stays without threads."""

        def answer() -> None:
            tempfile.tempdir = str(self._temporary)
            self._answer.write_text(json.dumps(work()))

        self._temporary.mkdir(exist_ok=True)
        ended = self._forked(answer, None)
        if ended.problem:
            raise AssertionError(ended.problem)
        return json.loads(self._answer.read_text())

    def _forked(
        self, work: Callable[[], Any], point: Point | None, *, alone: bool = False
    ) -> Ended:
        log = StepLog(self._log, self.place.now)
        try:
            return worked(work, log, self._words, point, alone=alone)
        finally:
            os.close(log.handle)


def _point(whole: Whole, chance: random.Random, *, aimed: bool) -> Point:
    """A point of an act: any moment of it, or any of its steps and a moment after that.

    A moment is told by the step before it, for another run may be slower.
    """
    times = [0.0, *(step.at for step in whole.steps), whole.seconds]
    if aimed and whole.steps:
        step = chance.randrange(1, len(times) - 1)
        gap = min(times[step + 1] - times[step], LONGEST_GAP_S)
        return Point(steps=step, seconds=chance.uniform(0, gap))
    moment = chance.uniform(0, whole.seconds)
    step = max(n for n, at in enumerate(times[:-1]) if at <= moment)
    return Point(steps=step, seconds=moment - times[step])
