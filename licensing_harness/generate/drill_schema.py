"""The JSON Schema of a drill file, made from the table of its keys and that of faults.

``drill.schema.json`` is this, written down. It says what one table may hold;
that a steady state is no recovery, that faults do not overlap and that an end
comes after its start is beyond it, and the reader's to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from licensing_harness.faults.plan_schema import plan_schema
from licensing_harness.generate.drill_keys import EXPECT, LOAD, MOST_WEIGHT, PLACES, STEADY_STATE, STOP, TOP, VERBS, Key

SCHEMA_FILE: Final = Path(__file__).with_name("drill.schema.json")
"""The JSON Schema (2020-12) of a drill."""


def drill_schema() -> dict[str, Any]:
    """The schema of a drill."""
    faults = plan_schema()["$defs"]
    for place, known in (("link", PLACES.links), ("node", PLACES.nodes), ("store", PLACES.stores)):
        faults[place] = {"enum": list(known), "description": faults[place]["description"]}
    faults["nodes"] = {**faults["nodes"], "items": faults["node"]}
    top = _table(TOP)
    top["properties"] |= {
        "load": {"$ref": "#/$defs/load"},
        "steady": _list("steady"),
        "fault": _list("fault"),
        "expect": _list("expect"),
        "stop": {"$ref": "#/$defs/stop"},
    }
    steady = _limits(_table(STEADY_STATE))
    steady["properties"]["measure"] = {**steady["properties"]["measure"], "not": {"const": "recovery"}}
    expect = _limits(_table(EXPECT))
    expect["if"] = {"properties": {"measure": {"const": "recovery"}}, "required": ["measure"]}
    expect["then"] = {"properties": {"phase": {"const": "after"}}}
    before = {"required": ["phase"], "properties": {"phase": {"const": "before"}}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A drill of licensing-harness",
        "description": "An outage to rehearse: a load, faults on a schedule, and what is expected. Times are seconds.",
        **top,
        "required": [*top["required"], "fault"],
        "anyOf": [
            {"required": ["steady"], "properties": {"steady": {"minItems": 1}}},
            {"required": ["expect"], "properties": {"expect": {"contains": before}}},
        ],
        "$defs": {**faults, "load": _table(LOAD), "stop": _table(STOP), "steady": steady, "expect": expect},
    }


def _list(name: str) -> dict[str, Any]:
    least = {"minItems": 1} if name == "fault" else {}
    return {"type": "array", "items": {"$ref": f"#/$defs/{name}"}, **least}


def _limits(table: dict[str, Any]) -> dict[str, Any]:
    return {**table, "anyOf": [{"required": ["at_least"]}, {"required": ["at_most"]}]}


def _table(keys: Mapping[str, Key]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: _value(key) for name, key in keys.items()},
        "required": [name for name, key in keys.items() if key.required],
        "additionalProperties": False,
    }


def _value(key: Key) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": f"{key.does[:1].upper()}{key.does[1:]}.".replace("`", "")}
    match key.takes:
        case "text":
            schema |= {"type": "string", "pattern": r"\S"}
        case "switch":
            schema |= {"type": "boolean"}
        case "choice":
            schema |= {"enum": list(key.choices)}
        case "promises":
            schema |= {"type": "array", "items": {"type": "string", "pattern": r"^[A-Z]{3}-[0-9]{3}$"}}
        case "options":
            schema |= {"type": "object"}
        case "weights":
            weight = {"type": "integer", "minimum": 0, "maximum": MOST_WEIGHT}
            some = {"anyOf": [{"required": [verb], "properties": {verb: {"minimum": 1}}} for verb in VERBS]}
            schema |= {"type": "object", "properties": dict.fromkeys(VERBS, weight), "additionalProperties": False}
            schema |= some
        case "number" | "whole":
            kind = "integer" if key.takes == "whole" else "number"
            schema |= {"type": kind, "minimum": key.least, "maximum": key.most}
    if key.default not in (None, (), {}):
        schema["default"] = key.default
    return schema
