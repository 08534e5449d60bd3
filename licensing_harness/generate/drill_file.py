"""Reads drill files. A mistake is one line that names the file, the line and the key, and the way out."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, NoReturn

from licensing_harness.errors import UsageError, closest, way_out
from licensing_harness.faults.plan import Plan
from licensing_harness.faults.plan_file import read_faults
from licensing_harness.faults.plan_lines import TableLines, table_lines
from licensing_harness.generate.drill import Drill, Expect, Load, Stop
from licensing_harness.generate.drill_keys import (
    EXPECT,
    LOAD,
    MOST_WEIGHT,
    PLACES,
    STEADY,
    STEADY_STATE,
    STOP,
    TOP,
    VERBS,
    Key,
)

_TABLES: Final = ("load", "steady", "fault", "expect", "stop")
_PROMISE: Final = re.compile(r"[A-Z]{3}-\d{3}")
_SENSES: Final[tuple[Literal["at_least", "at_most"], ...]] = ("at_least", "at_most")


def read_drill(text: str, name: str, options: Collection[str] = ()) -> Drill:
    """The drill in a TOML text; ``name`` is the file's, for messages; ``options`` those that ``[target]`` may have.

    Raises UsageError that names the file, the line, the key and the way out.
    """
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what = str(error)
        at = re.search(r" \(at line (\d+), column \d+\)$", what)
        message = f"{name}:{at[1]}: no TOML: {what.removesuffix(at[0])}" if at else f"{name}: no TOML: {what}"
        raise UsageError(message) from error
    return _Reader(name, text, options).drill(said)


def stored_drill(document: Mapping[str, Any], name: str) -> Drill:
    """The drill that a history keeps. Raises UsageError when it is none that this version can read."""
    return _Reader(name, "").drill(document)


class _Reader:
    """Turns tables into a drill; every refusal says where and what would do."""

    def __init__(self, name: str, source: str, options: Collection[str] = ()) -> None:
        self._name = name
        self._options = options
        self._source = source
        self._lines: dict[str, list[TableLines]] = {}

    def drill(self, said: Mapping[str, Any]) -> Drill:
        self._known("", 1, said, (*TOP, *_TABLES))
        for table in ("steady", "expect", "fault"):
            if not isinstance(said.get(table, []), list):
                self._refuse("", 1, table, f"write it as [[{table}]], once for each")
        top = self._values("", 1, said, TOP)
        for key in top["target"]:
            if self._options and key not in self._options:
                self._refuse("", 1, "target", f"[target]: unknown key {key!r}; {way_out(key, self._options)}")
        if not said.get("fault"):
            self._refuse("", 1, "", "no [[fault]]: a drill without a fault rehearses nothing")
        faults = self._faults(said["fault"])
        expects: list[Expect] = []
        for number, table in enumerate(said.get("steady", []), 1):
            expects += self._expect("steady", number, table)
        for number, table in enumerate(said.get("expect", []), 1):
            expects += self._expect("expect", number, table)
        if not any(each.phase == "before" for each in expects):
            self._refuse("", 1, "", "no [[steady]]: without a steady state nothing can be told about an outage")
        return Drill(
            **top,
            load=Load(**self._values("load", 1, said.get("load", {}), LOAD)),
            faults=faults,
            expects=tuple(expects),
            stop=Stop(**self._values("stop", 1, said.get("stop", {}), STOP)),
            document=said,
        )

    def _faults(self, said: Any) -> Plan:
        return read_faults(said, name=self._name, source=self._source, places=PLACES)

    def _expect(self, name: str, number: int, said: Any) -> list[Expect]:
        table = self._values(name, number, said, STEADY_STATE if name == "steady" else EXPECT)
        measure = str(table["measure"])
        chosen = STEADY if name == "steady" else (str(table["phase"]),)
        if measure == "recovery" and chosen != ("after",):
            why = 'recovery is measured after the faults: write it as [[expect]] with phase = "after"'
            self._refuse(name, number, "measure", why)
        limits = [each for each in _SENSES if table.get(each) is not None]
        if not limits:
            self._refuse(name, number, "", "give at_least or at_most, or both")
        return [
            Expect(phase=phase, measure=measure, limit=table[sense], sense=sense)
            for phase in chosen
            for sense in limits
        ]

    # Values ----------------------------------------------------------------------------------

    def _values(self, table: str, number: int, said: Any, keys: Mapping[str, Key]) -> dict[str, Any]:
        """The values of a table's keys, with their defaults; ``table`` is its name, empty for the top."""
        if not isinstance(said, Mapping):
            self._refuse(table, number, "", f"a table is needed here, not {said!r}")
        if table:
            self._known(table, number, said, keys)
        found = {}
        for name, key in keys.items():
            if name not in said:
                if key.required:
                    self._refuse(table, number, "", _missing(name, key))
                found[name] = key.default
                continue
            why, value = _value(name, said[name], key)
            if why:
                self._refuse(table, number, name, why)
            found[name] = value
        return found

    def _known(self, table: str, number: int, said: Mapping[str, Any], keys: Sequence[str] | Mapping[str, Key]) -> None:
        for key in said:
            if key not in keys:
                self._refuse(table, number, key, f"unknown key {key!r}; {way_out(key, list(keys))}")

    def _refuse(self, table: str, number: int, key: str, why: str) -> NoReturn:
        """``number`` is that of the table among those of its name, from 1."""
        where = self._name
        line = self._line(table, number, key)
        shown = "" if not table else f"[{table}]" if table in ("load", "stop") else f"[[{table}]] {number}"
        message = f"{where}:{line}" if line else where
        raise UsageError(": ".join(part for part in (message, shown, why) if part))

    def _line(self, table: str, number: int, key: str) -> int:
        """Where it stands in the file; 0 where that can't be told."""
        if not self._source:
            return 0
        single = table in ("", "load", "stop")
        if table not in self._lines:
            self._lines[table] = table_lines(self._source, table, single=single)
        tables = self._lines[table]
        if 0 < number <= len(tables):
            return tables[number - 1].keys.get(key, tables[number - 1].line if table or key else 0)
        # A table that is written in one line, at the top.
        return self._line("", 1, table) if table else 0


def _missing(name: str, key: Key) -> str:
    if key.example:
        return f"{name} is missing, as in {key.example}"
    return f"{name} is missing; choose from {', '.join(key.choices)}" if key.choices else f"{name} is missing"


def _value(name: str, value: Any, key: Key) -> tuple[str, Any]:
    """Why the value can't be one, empty when it can; and the value."""
    match key.takes:
        case "text":
            sound = isinstance(value, str) and bool(value.strip())
            return ("" if sound else _missing(name, key)), value
        case "switch":
            return ("" if isinstance(value, bool) else f"{name} = {value!r}: give true or false"), value
        case "choice":
            if value in key.choices:
                return "", value
            near = closest(str(value), key.choices)
            hint = f"; did you mean {near!r}?" if near else ""
            return f"{name} = {value!r} is none{hint}; choose from {', '.join(key.choices)}", value
        case "promises":
            sound = isinstance(value, list) and all(
                isinstance(each, str) and _PROMISE.fullmatch(each) for each in value
            )
            why = "" if sound else f"{name}: give ids of promises, as in {key.example}"
            return why, tuple(value) if sound else value
        case "options":
            why = "" if isinstance(value, Mapping) else f"[{name}]: a table is needed here, not {value!r}"
            return why, value
        case "weights":
            why = _weights(name, value)
            return why, value if why else {verb: int(weight) for verb, weight in value.items()}
        case "whole":
            sound = _whole(value) and key.least <= value <= key.most
            why = "" if sound else f"{name} = {value!r}: give a whole number from {key.least:g} to {key.most:g}"
            return why, int(value) if sound else value
        case "number":
            sound = type(value) in (int, float) and math.isfinite(value) and key.least <= value <= key.most
            why = "" if sound else f"{name} = {value!r}: give a number from {key.least:g} to {key.most:g}"
            return why, float(value) if sound else value


def _whole(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value == int(value)


def _weights(name: str, value: Any) -> str:
    if not isinstance(value, Mapping):
        return f"{name}: a table is needed here, not {value!r}"
    for verb, weight in value.items():
        if verb not in VERBS:
            return f"{name}: unknown key {verb!r}; {way_out(verb, VERBS)}"
        if not _whole(weight) or not 0 <= weight <= MOST_WEIGHT:
            return f"{name}: {verb} = {weight!r}: give a whole number from 0 to {MOST_WEIGHT}"
    return "" if any(value.values()) else f"{name}: at least one verb must have a weight above 0"
