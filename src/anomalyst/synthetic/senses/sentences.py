"""Sentences that are true of a drawn part: what is seen, and what the machine does."""

from collections.abc import Sequence

from anomalyst.synthetic.procedural.episode import Truth
from anomalyst.synthetic.sampling import Rng
from anomalyst.synthetic.senses.conditions import Condition
from anomalyst.synthetic.senses.machine import STUFFS, Running

SUBJECTS = ("a {}", "this is a {}", "the picture shows a {}", "one {}", "a {} on the line")
COLOURED = ("it is {}", "its colour is {}", "a {} part", "{} in colour")
ON_GROUND = ("it lies on something {}", "the ground is {}", "{} behind it")
MADE_OF = ("it is of {}", "made of {}", "{} all through", "the material is {}")
AT_WORK = ("in a {}", "it runs in a {}", "the machine is a {}", "heard beside a {}")
FAULTS = (
    "it has a {size} {kind} at the {place}",
    "there is a {kind} at the {place}",
    "a {size} {kind}",
    "defect: {kind}, {size}, {place}",
)
SOUND_PARTS = ("it is sound", "there is no fault", "a good part", "nothing is wrong with it")
SPEEDS = ((8.0, "slowly"), (20.0, "steadily"), (40.0, "fast"), (1e9, "very fast"))
# What a condition is called, then what it does: heard, felt or seen as heat.
OF_CONDITION: dict[Condition, tuple[str, ...]] = {
    "sound": ("it runs evenly", "the machine runs smoothly", "it is as warm as it should be"),
    "cracked": (
        "it is cracked", "it rings lower and dies away sooner", "a hot line where it is cracked",
        "the cracked part has lost stiffness",
    ),
    "worn": (
        "it is worn", "it rubs", "there is the noise of friction", "a warm trace where it is worn",
    ),
    "loose": (
        "something is loose", "it rattles twice as slowly as the shaft turns",
        "a cold spot where something is loose", "half orders: it is loose",
    ),
    "broken": (
        "a piece is broken away", "it knocks once a turn", "one strike in every turn: broken",
        "it is broken and colder there",
    ),
    "deformed": (
        "it is deformed", "it runs out of balance", "it shakes once a turn, being deformed",
        "a warm spot where it is deformed",
    ),
    "foreign": (
        "something foreign lies on it", "the bearing sounds in bursts",
        "bursts: foreign matter in the bearing", "something foreign and cold",
    ),
    "contaminated": (
        "it is contaminated", "it sounds muffled", "a cool film where it is contaminated",
        "contaminated and dampened",
    ),
}  # fmt: skip


def captions(truth: Truth, run: Running, kind: str, rng: Rng, count: int) -> tuple[str, ...]:
    """So many texts, each of three to six facts in random order; the family's noun is in all.

    `kind`: the fault's in the world's words; of a sound part "".
    """
    return tuple(_caption(truth, run, kind, rng) for _ in range(count))


def _caption(truth: Truth, run: Running, kind: str, rng: Rng) -> str:
    facts = _facts(truth, run, rng)
    rng.shuffle(facts)
    said = [_of(rng, SUBJECTS).format(truth.noun), *facts[: int(rng.integers(1, 4))]]
    said += _state(truth, run.condition, kind, rng)
    return ". ".join(said[i] for i in rng.permutation(len(said))) + "."


def _facts(truth: Truth, run: Running, rng: Rng) -> list[str]:
    """True of the product, whether sound or not."""
    machine = run.machine
    speed = next(word for limit, word in SPEEDS if machine.shaft_hz <= limit)
    facts = [
        _of(rng, COLOURED).format(truth.colours[0]),
        _of(rng, MADE_OF).format(machine.stuff),
        _of(rng, AT_WORK).format(machine.name),
        f"it turns {speed}",
        f"it rings {STUFFS[machine.stuff].rings}",
    ]
    if len(truth.colours) > 1:
        facts.append(_of(rng, ON_GROUND).format(truth.colours[1]))
    if truth.parts:
        name, number = max(truth.parts.items(), key=lambda item: item[1])
        facts.append(f"it has {'many' if number > 6 else 'few'} parts called {name}")
    return facts


def _state(truth: Truth, condition: Condition, kind: str, rng: Rng) -> list[str]:
    """Its fault as seen, as felt, or both."""
    felt = _of(rng, OF_CONDITION[condition])
    if not kind:
        seen = _of(rng, SOUND_PARTS)
    elif truth.defects:
        defect = truth.defects[0]
        seen = _of(rng, FAULTS).format(kind=defect.kind, size=defect.size, place=defect.place)
    else:
        seen = _of(rng, ("it has a {}", "defect: {}")).format(kind)
    return [[seen], [felt], [seen, felt]][int(rng.integers(3))]


def _of(rng: Rng, phrases: Sequence[str]) -> str:
    return phrases[int(rng.integers(len(phrases)))]
