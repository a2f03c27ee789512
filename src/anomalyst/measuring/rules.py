"""What is still tolerated, by kind and size: `scratch: length < 2 mm`, and what regions make of it.

A rule is one line, KIND: LIMIT. KIND is `any` or a word for a kind of defect; LIMIT is `none`,
`at most 3`, or a figure (length, width, area, perimeter), `<` or `<=`, a number and its unit.
"""

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from anomalyst.errors import AnomalystError
from anomalyst.types import SIZE_NAMES, Measure, Region, Verdict

ANY = "any"
MM = {"um": 1e-3, "µm": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1000.0}
UNITS = {"px": ("px", 1.0)} | {name: ("mm", factor) for name, factor in MM.items()}
SQUARES = {f"{name}{two}": (unit, f**2) for name, (unit, f) in UNITS.items() for two in ("2", "²")}
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
TOKEN = re.compile(r"<=|>=|[<>≤≥=]|\d[\d.,eE+-]*|[^\W\d]+[2²]?|\S")
LONGEST = 200  # characters of a rule
State = Literal["within", "open", "close", "broken"]  # the worst decides; open: no rule tells


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One acceptance rule."""

    text: str  # as it was written, spaces evened out
    word: str  # the kind as the person calls it, or "any"
    kinds: tuple[str, ...]  # of regions that it is about; of "any", none: all are
    figure: str = ""  # length, width, area or perimeter; empty: regions are counted
    limit: float  # in `unit`, or its square for an area; of a count the most that may be
    unit: str = ""  # "mm" or "px"
    inclusive: bool = False  # whether the limit itself is tolerated

    def about(self, region: Region) -> bool:
        """Whether it says something of this region: what people call it goes before its kind."""
        return not self.kinds or (region.called or region.kind or "").lower() in self.kinds


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the rules make of a picture's regions."""

    verdict: Verdict
    words: tuple[str, ...]  # why, a sentence part for each region or count
    chance: float  # that something is out of tolerance, by what was measured, [0, 1]


@dataclass(frozen=True, slots=True)
class _Said:
    state: State
    words: str
    chance: float  # that the rule is broken


def parse_rules(
    lines: Iterable[str], words: Mapping[str, str], *, kept: bool = False
) -> tuple[Rule, ...]:
    """Rules, one a line; empty lines and what follows a # are passed over."""
    plain = (line.partition("#")[0].strip() for line in lines)
    return tuple(parse_rule(line, words, kept=kept) for line in plain if line)


def parse_rule(text: str, words: Mapping[str, str], *, kept: bool = False) -> Rule:
    """The rule that a line is; `words`: what people call kinds -> the kinds of regions.

    `kept`: it was read before, so a kind that is unknown is one that was taught and is forgotten
    by now; no region is of it. Raises AnomalystError that points at the word which cannot be read,
    with the nearest known.
    """
    if len(text) > LONGEST:
        raise AnomalystError(f"rule {text[:40]!r}...: is longer than {LONGEST} characters.")
    named, colon, limit = text.partition(":")
    if not colon:
        raise _unread(text, text.strip(), "has no colon; write KIND: LIMIT")
    word = " ".join(named.lower().split())
    kinds = (word,) if kept and not _known(word, words) else _kinds(text, word, words)
    tokens = [(match.group().lower(), match.group()) for match in TOKEN.finditer(limit)]
    even = f"{word}: {' '.join(limit.split())}"
    low = [one for one, _ in tokens]
    if low == ["none"]:
        return Rule(text=even, word=word, kinds=kinds, limit=0)
    if low[:2] == ["at", "most"]:
        return Rule(text=even, word=word, kinds=kinds, limit=_count(text, limit, tokens))
    return _measured(text, even, word, kinds, tokens)


def judge(rules: Sequence[Rule], regions: Sequence[Region], before: Verdict) -> Ruling | None:
    """What the rules make of a verdict and its regions; None where no rule is about any of them.

    "normal": all regions are within tolerance. "anomalous": one is out of it. "unsure": all are
    within or so near a limit that the measure's interval holds it. A region that no rule can
    judge, or that is a missing or an extra part, leaves the verdict as it was, unless another is
    out of tolerance.
    """
    said = [_of_region(rules, region) for region in regions]
    counts = [one for rule in rules if not rule.figure and (one := _counted(rule, regions))]
    told = [one for one in (*said, *counts) if one.words]
    if before == "normal" or not told:
        return None
    states = {one.state for one in (*said, *counts)}
    verdict: Verdict = before
    if "broken" in states:
        verdict = "anomalous"
    elif "open" not in states:
        verdict = "unsure" if "close" in states else "normal"
    sound = math.prod(1 - one.chance for one in (*said, *counts))
    return Ruling(verdict, tuple(dict.fromkeys(one.words for one in told)), 1 - sound)


def _of_region(rules: Sequence[Rule], region: Region) -> _Said:
    """The worst that any rule says of a region by itself."""
    own = [rule for rule in rules if rule.about(region)]
    said = [_by_figure(rule, region) for rule in own if rule.figure]
    if region.part is not None:
        missing = region.part == "missing"
        what = "a part is missing" if missing else "there is a part too many"
        told = f"no rule covers it: {what} at the {region.place}" if own else ""
        return _worst([*said, _Said("open", told, 0.0)])
    if not own:
        return _Said("open", "", 0.0)
    counted = [_Said("within", "", 0.0)] if len(said) < len(own) else []
    return _worst([*said, *counted])


def _by_figure(rule: Rule, region: Region) -> _Said:
    measures = region.measures
    sizes = measures and (measures.mm if rule.unit == "mm" else measures.px)
    name = rule.word if rule.word != ANY else region.kind or "anomaly"
    unit = f"{rule.unit}2" if rule.figure == "area" else rule.unit
    if not sizes:
        return _Said("open", f"not judged in {unit}, which needs a scale: {name}", 0.0)
    found: Measure = getattr(sizes, rule.figure)
    what = f"{name} of {found.value:.3g} {unit}{_OF[rule.figure]}"
    limit = f"(limit {rule.limit:.4g} {unit})"
    deviation = max(found.plus_minus / 1.96, 1e-9)
    chance = 0.5 * math.erfc((rule.limit - found.value) / deviation / math.sqrt(2))
    if found.value + found.plus_minus < rule.limit or (
        rule.inclusive and found.value + found.plus_minus == rule.limit
    ):
        return _Said("within", f"within tolerance: {what} {limit}", chance)
    if found.value - found.plus_minus >= rule.limit:
        return _Said("broken", f"out of tolerance: {what} {limit}", chance)
    near = f"{what}, give or take {found.plus_minus:.2g} {unit} {limit}"
    return _Said("close", f"too near the limit to tell: {near}", chance)


_OF = {"length": "", "width": " wide", "area": "", "perimeter": " around"}


def _counted(rule: Rule, regions: Sequence[Region]) -> _Said | None:
    """What a count says of all regions together; None where it is about none of them."""
    such = [region for region in regions if rule.about(region)]
    if not such:
        return None
    # "any" and many a word name one thing; a plural that was written stays.
    name = "region" if rule.word == ANY else rule.word
    name += "s" if len(such) != 1 and not name.endswith("s") else ""
    limit = "none is allowed" if rule.limit == 0 else f"at most {rule.limit:g}"
    words = f"{len(such)} {name} ({limit})"
    if len(such) <= rule.limit:
        return _Said("within", f"within tolerance: {words}", 0.0)
    return _Said("broken", f"out of tolerance: {words}", 1.0)


def _worst(said: Sequence[_Said]) -> _Said:
    order: tuple[State, ...] = ("within", "open", "close", "broken")
    # A part without a rule is no worse than a limit that is too near, but no limit lets it pass.
    return max(said, key=lambda one: (order.index(one.state), bool(one.words), one.chance))


def _known(word: str, words: Mapping[str, str]) -> str:
    """The word as it is known, "any" included; empty where it is not."""
    forms = (word, word.removesuffix("s"), word.removesuffix("es"))
    return next((one for one in forms if one == ANY or one in words), "")


def _kinds(text: str, word: str, words: Mapping[str, str]) -> tuple[str, ...]:
    if word == ANY:
        return ()
    if tried := _known(word, words):
        return tuple(dict.fromkeys((words[tried], tried)))
    if not word:
        raise _unread(text, text.strip(), "names no kind before its colon; write any, or a kind")
    raise _unread(text, word, "is no kind of defect", [ANY, *words])


def _count(text: str, limit: str, tokens: Sequence[tuple[str, str]]) -> int:
    if len(tokens) < 3:
        raise _unread(text, limit.strip(), "lacks its number; write at most 3")
    number = tokens[2][1]
    if not number.isdecimal() or len(number) > 6:
        raise _unread(text, number, "is no whole number")
    if len(tokens) > 3:
        raise _unread(text, tokens[3][1], "is one word too many after a count")
    return int(number)


def _measured(
    text: str, even: str, word: str, kinds: tuple[str, ...], tokens: Sequence[tuple[str, str]]
) -> Rule:
    wanted = [*SIZE_NAMES, "none", "at most"]
    if not tokens:
        raise _unread(text, text.strip(), f"has no limit; write one of {', '.join(wanted)}")
    figure, said = tokens[0]
    if figure not in SIZE_NAMES:
        raise _unread(text, said, "is no limit", wanted)
    sign = tokens[1][1] if len(tokens) > 1 else ""
    if sign not in ("<", "<=", "≤"):
        why = "tells what is not tolerated; a rule says what is: write <"
        raise _unread(text, sign or said, why if sign in (">", ">=", "≥") else "needs < or <= next")
    number = tokens[2][1] if len(tokens) > 2 else ""
    if not NUMBER.fullmatch(number):
        raise _unread(text, number or sign, "is no number, as 2 or 0.5" if number else "lacks one")
    units = SQUARES if figure == "area" else UNITS
    asked, shown = tokens[3] if len(tokens) > 3 else ("", "")
    if asked not in units:
        other = "a length" if asked in UNITS else "an area" if asked in SQUARES else ""
        why = f"is {other}, and {figure} needs the other" if other else f"is no unit of {figure}"
        if not asked:
            raise _unread(text, number, f"lacks its unit, one of {', '.join(units)}")
        raise _unread(text, shown, why, list(units))
    if len(tokens) > 4:
        raise _unread(text, tokens[4][1], "is one word too many")
    unit, factor = units[asked]
    limit = float(number) * factor
    if not (math.isfinite(limit) and limit > 0):
        raise _unread(text, number, "is no limit above 0; to allow none at all, write none")
    return Rule(
        text=even,
        word=word,
        kinds=kinds,
        figure=figure,
        limit=limit,
        unit=unit,
        inclusive=sign != "<",
    )


def _unread(text: str, word: str, why: str, known: Sequence[str] = ()) -> AnomalystError:
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.0) if known else []
    hint = f"; the nearest is {near[0]!r}" if near else ""
    return AnomalystError(f"rule {text.strip()!r}: {word!r} {why}{hint}.")
