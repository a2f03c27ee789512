"""Dataclass <-> YAML <-> key=value. An unknown key is an error that names the nearest one."""

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from anomalyst.errors import AnomalystError

T = TypeVar("T")


def from_mapping(cls: type[T], values: Mapping[str, Any], *, where: str = "config") -> T:
    """Build the (nested, frozen) dataclass from plain values, checked.

    Raises AnomalystError for an unknown key (naming the nearest) or a value of the wrong type.
    """
    _refuse_unknown_keys(cls, values, where, ())
    try:
        return TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "value"
        if first["type"] == "value_error":  # our own sentence, about a whole section
            place = f"{key}: " if first["loc"] else ""
            said = first["msg"].removeprefix("Value error, ").removesuffix(".")
            raise AnomalystError(f"{where}: {place}{said}.") from error
        near = _nearest_word(first) if first["type"] == "literal_error" else ""
        raise AnomalystError(
            f"{where}: {key} is {first['input']!r}; {first['msg']}{near}."
        ) from error


def load(cls: type[T], path: Path, overrides: Iterable[str] = ()) -> T:
    """Read a YAML file into `cls`, then apply `key=value` overrides (`a.b=3`)."""
    return from_mapping(cls, with_overrides(read_mapping(path), overrides), where=str(path))


def read_mapping(path: Path) -> dict[str, Any]:
    """The plain values of a YAML file; AnomalystError where it holds anything but a mapping."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AnomalystError(f"{path}: there is no such recipe.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise AnomalystError(f"{path}: not readable as YAML ({_in_a_line(error)}).") from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise AnomalystError(f"{path}: holds a {type(values).__name__}; a mapping is needed.")
    return values


def _in_a_line(error: Exception) -> str:
    """What is wrong and where, without the parser's picture of it."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', error)}"


def with_overrides(values: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of `values` with `a.b=3` style overrides applied; the right side is read as YAML."""
    merged: dict[str, Any] = _copied(values)
    for text in overrides:
        key, equals, raw = text.partition("=")
        if not equals or not key:
            raise AnomalystError(f"{text!r} is not an override; write key=value, as in steps=100.")
        node = merged
        *parents, last = key.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise AnomalystError(f"{text!r}: {parent} is a value, not a section.")
        try:
            node[last] = yaml.safe_load(raw)
        except yaml.YAMLError:
            raise AnomalystError(f"{text!r}: the value is not readable as YAML.") from None
    return merged


def to_mapping(config: Any) -> dict[str, Any]:
    """The resolved tree as plain JSON/YAML values, to be saved with every run."""
    mapping: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json")
    return mapping


def _nearest_word(error: Any) -> str:
    """Of the words that a key can be, the one that was perhaps meant."""
    words = re.findall(r"'([^']*)'", str(error["ctx"]["expected"]))
    near = difflib.get_close_matches(str(error["input"]), words, n=1)
    return f", perhaps {near[0]!r}" if near else ""


def _copied(node: Any) -> Any:
    return {k: _copied(v) for k, v in node.items()} if isinstance(node, Mapping) else node


def _refuse_unknown_keys(hint: Any, value: Any, where: str, path: tuple[str, ...]) -> None:
    """Walks dataclasses, and mappings, lists and optional values of them."""
    if isinstance(value, Mapping) and isinstance(hint, type) and dataclasses.is_dataclass(hint):
        hints = get_type_hints(hint)
        names = [f.name for f in dataclasses.fields(hint)]
        for key, inner in value.items():
            if key not in names:
                near = difflib.get_close_matches(str(key), names, n=1, cutoff=0.0)
                full = ".".join((*path, str(key)))
                raise AnomalystError(
                    f"{where}: there is no key {full!r}; the nearest is "
                    f"{'.'.join((*path, near[0])) if near else 'none'!r}."
                )
            _refuse_unknown_keys(hints[key], inner, where, (*path, str(key)))
        return
    inside = get_args(hint)
    if isinstance(value, Mapping) and len(inside) == 2 and type(None) not in inside:
        for key, inner in value.items():
            _refuse_unknown_keys(inside[1], inner, where, (*path, str(key)))
    elif isinstance(value, list | tuple) and inside:
        for number, inner in enumerate(value):
            _refuse_unknown_keys(inside[0], inner, where, (*path, str(number)))
    elif type(None) in inside and len(inside) == 2:
        one = next(kind for kind in inside if kind is not type(None))
        _refuse_unknown_keys(one, value, where, path)
