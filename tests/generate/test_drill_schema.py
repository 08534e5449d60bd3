"""The JSON Schema of drills: made from the reader's own table, and of the same opinion."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from licensing_harness.commands.drill import shipped
from licensing_harness.errors import UsageError
from licensing_harness.generate.drill_file import stored_drill
from licensing_harness.generate.drill_schema import SCHEMA_FILE, drill_schema

SCHEMA = Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
SOUND: dict[str, Any] = {
    "title": "Everything",
    "tries": ["SEA-001"],
    "world": "simulated",
    "target": {"depth": "smoke"},
    "load": {
        "rate": 20,
        "clients": 4,
        "before": 1,
        "after": 2.5,
        "seats": 3,
        "verbs": {"validate": 2, "issue": 0},
        "revoke_at": 0.5,
        "herd": True,
    },
    "steady": [{"measure": "p95", "at_most": 50}],
    "fault": [{"kind": "crash", "node": "server", "at": 0}],
    "expect": [
        {"phase": "after", "measure": "recovery", "at_most": 1},
        {"phase": "before", "measure": "refused", "at_least": 0, "at_most": 3},
    ],
    "stop": {"unanswered": 5, "seconds": 30},
}
WRONG: tuple[Any, ...] = ("", "x", "live", True, -1, 0, 0.5, 1, 1.0, 2000, 10**12, [], ["SEA-001"], ["x"], {}, {"x": 1})
BEYOND = re.compile("overlaps|is not after the start")


def changes(table: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every key left out, set to something else, and one more key in every table."""
    if path and path[0] == "fault" and len(path) > 1:
        return  # tests of fault plans do these
    keys = list(table) if isinstance(table, dict) else range(len(table))
    for key in keys:
        yield (*path, key), None
        for value in WRONG:
            yield (*path, key), value
        if isinstance(table[key], dict | list) and key != "target":
            yield from changes(table[key], (*path, key))
    if isinstance(table, dict):
        yield (*path, "zzz"), 1


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    told = copy.deepcopy(SOUND)
    table: Any = told
    for key in path[:-1]:
        table = table[key]
    if value is None:
        del table[path[-1]]
    else:
        table[path[-1]] = value
    return told


def mistake(document: dict[str, Any]) -> str:
    try:
        stored_drill(document, "it")
    except UsageError as error:
        return str(error)
    return ""


def test_the_schema_in_the_package_is_made_from_the_table_of_keys() -> None:
    """It is a valid schema, and nobody changed one without the other."""
    assert drill_schema() == SCHEMA.schema
    Draft202012Validator.check_schema(SCHEMA.schema)


@pytest.mark.parametrize("name", shipped())
def test_every_drill_that_is_shipped_is_valid(name: str) -> None:
    """As an editor would say, which knows the schema alone."""
    document = tomllib.loads(shipped()[name].read_text(encoding="utf-8"))

    assert [each.message for each in SCHEMA.iter_errors(document)] == []


def test_the_schema_and_the_reader_refuse_the_same_changes() -> None:
    """Of a drill with one key less, one more, or one value wrong, they say the same."""
    assert mistake(SOUND) == ""
    every = [(path, value, changed(path, value)) for path, value in changes(SOUND)]
    said = {(path, str(value)): mistake(told) for path, value, told in every}

    differ = [
        (path, value, why)
        for path, value, told in every
        if not BEYOND.search(why := said[path, str(value)]) and SCHEMA.is_valid(told) != (not why)
    ]
    assert differ == []
    assert len([why for why in said.values() if why]) > 300
    assert len([why for why in said.values() if not why]) > 30


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "latency", "link": "phone->server", "start": 0, "end": 1, "latency": 5},
        {"kind": "crash", "node": "sever", "at": 0},
        {"kind": "store-full", "store": "disk", "start": 0, "end": 1},
        {"kind": "rolling-restart", "nodes": ["other"], "at": 0, "gap": 1},
        {"kind": "crsh", "node": "server", "at": 0},
    ],
    ids=lambda fault: fault["kind"],
)
def test_a_fault_elsewhere_is_refused_by_both(fault: dict[str, Any]) -> None:
    """A drill knows its places; a plan alone does not."""
    told = {**SOUND, "fault": [fault]}

    assert mistake(told)
    assert not SCHEMA.is_valid(told)
