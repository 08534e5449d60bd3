"""Fault plans as TOML: ``[[fault]]`` tables, in a file of their own or among the tables of another one.

A mistake is one line that names the file, the line and the key, and the way
out. Where the line can't be told, the number of the table stands in its place.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from licensing_harness.faults.plan import Plan, PlanError, PlannedFault, check_place
from licensing_harness.faults.plan_kinds import unknown
from licensing_harness.faults.plan_lines import TableLines, table_lines

SCHEMA_FILE: Final = Path(__file__).with_name("plan.schema.json")
"""The JSON Schema (2020-12) of a plan."""

TABLE: Final = "fault"


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """The places that there are: links as ``client->server``, nodes and stores by name."""

    links: Collection[str] = ()
    nodes: Collection[str] = ()
    stores: Collection[str] = ()


def read_plan(path: Path, *, places: Places | None = None) -> Plan:
    """The plan in a TOML file. Raises PlanError, also when the file can't be read."""
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path}: can't be read: {error}"
        raise PlanError(message) from error
    return parse_plan(source, name=path.name, places=places)


def parse_plan(source: str, *, name: str, places: Places | None = None) -> Plan:
    """The plan in a TOML text; ``name`` is what errors call the file. Raises PlanError."""
    try:
        document = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        what = str(error)
        at = re.search(r" \(at line (\d+), column \d+\)$", what)
        where = f"{name}:{at[1]}" if at else name
        raise PlanError(f"{where}: not TOML: {what.removesuffix(at[0]) if at else what}") from error
    for key in document:
        if key != TABLE:
            raise PlanError(f"{name}: {unknown('table', key, [TABLE])}; a plan has [[{TABLE}]] tables only")
    return read_faults(document.get(TABLE, []), name=name, source=source, places=places)


def read_faults(tables: Any, *, name: str, source: str = "", places: Places | None = None) -> Plan:
    """The plan in the ``fault`` list of a document that was read already.

    ``source`` is the document's text, for the lines; without it, errors name
    the number of the table. ``places`` limits where faults may be. Raises PlanError.
    """
    if not isinstance(tables, list) or not all(isinstance(each, Mapping) for each in tables):
        raise PlanError(f"{name}: {TABLE}: expected [[{TABLE}]] tables, got {_short(tables)}")
    if not tables:
        raise PlanError(f"{name}: the plan is empty; give at least one [[{TABLE}]] table")
    lines = table_lines(source, TABLE)
    if len(lines) != len(tables):
        lines = []
    faults = [_fault(each, number, name, lines, places) for number, each in enumerate(tables, 1)]
    try:
        return Plan(tuple(faults))
    except PlanError as error:
        raise _placed(error, error.number, name, lines) from None


def _fault(
    table: Mapping[str, Any], number: int, name: str, lines: Sequence[TableLines], places: Places | None
) -> PlannedFault:
    try:
        fault = PlannedFault.of(table)
        if places is not None:
            check_place(fault, links=places.links, nodes=places.nodes, stores=places.stores)
    except PlanError as error:
        raise _placed(error, number, name, lines) from None
    return fault


def _placed(error: PlanError, number: int, name: str, lines: Sequence[TableLines]) -> PlanError:
    """The same error with the place at which it stands in the file."""
    where = f"{name}: fault {number}"
    if lines:
        table = lines[number - 1]
        where = f"{name}:{table.keys.get(error.key, table.line)}"
    placed = PlanError(f"{where}: {error.text}", key=error.key)
    placed.number = number
    return placed


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."  # noqa: PLR2004 - as much as fits a line
