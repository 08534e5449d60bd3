"""The JSON Schema of a fault plan, made from the table of kinds.

``plan.schema.json`` is this, written down. It says what one table may hold;
that an end comes after its start and that faults do not overlap is beyond it,
and the reader's to say.
"""

from __future__ import annotations

from typing import Any, Final

from licensing_harness.faults.pages import RETRY_AFTER
from licensing_harness.faults.plan_kinds import KINDS, MOST, STREAMS, Kind, Parameter

_TIMES: Final = {
    "at": "Seconds from the start of the plan at which it happens.",
    "start": "Seconds from the start of the plan at which it begins.",
    "end": "Seconds from the start of the plan at which it is over.",
    "spread": "Seconds by which it may begin later, as the seed decides.",
}
_PLACES: Final[dict[str, dict[str, Any]]] = {
    "link": {
        "type": "string",
        "pattern": r"^(?!.*->.*->)\S(.*\S)?->\S(.*\S)?$",
        "description": "The client and the server between which it takes place.",
    },
    "node": {"type": "string", "minLength": 1, "description": "The process, or the machine, that it happens to."},
    "nodes": {
        "type": "array",
        "items": {"type": "string", "minLength": 1},
        "minItems": 1,
        "uniqueItems": True,
        "description": "The processes that it happens to, one after the other.",
    },
    "store": {"type": "string", "minLength": 1, "description": "The store that it happens to."},
}


def plan_schema() -> dict[str, Any]:
    """The schema of a plan, and in ``$defs/fault`` that of one of its tables."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A fault plan of licensing-harness",
        "description": "Which faults, where, and when. Times are seconds from the start of the plan.",
        "type": "object",
        "required": ["fault"],
        "additionalProperties": False,
        "properties": {"fault": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/fault"}}},
        "$defs": {
            "fault": {"oneOf": [_fault(name, kind) for name, kind in KINDS.items()]},
            **{name: _time(text) for name, text in _TIMES.items()},
            **_PLACES,
            "stream": {"enum": list(STREAMS), "default": STREAMS[0]},
        },
    }


def _fault(name: str, kind: Kind) -> dict[str, Any]:
    properties: dict[str, Any] = {"kind": {"const": name}}
    properties |= {each: {"$ref": f"#/$defs/{each}"} for each in kind.keys}
    properties |= {each: _parameter(parameter) for each, parameter in kind.parameters.items()}
    required = [each for each, parameter in kind.parameters.items() if parameter.required]
    table: dict[str, Any] = {
        "description": kind.does,
        "type": "object",
        "properties": properties,
        "required": ["kind", *(kind.times if kind.when != "either" else ()), kind.where, *required],
        "additionalProperties": False,
    }
    if kind.when == "either":
        table["oneOf"] = [
            {"required": ["at"], "properties": {"start": False, "end": False}},
            {"required": ["start", "end"], "properties": {"at": False}},
        ]
    if "every" in kind.parameters:
        table["not"] = {"required": ["first", "every"]}
    if "retry_after" in kind.parameters:
        table["dependentSchemas"] = {"retry_after": {"properties": {"status": {"enum": list(RETRY_AFTER)}}}}
    return table


def _time(description: str) -> dict[str, Any]:
    return {"type": "number", "minimum": 0, "maximum": MOST, "description": description}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    if parameter.choices:
        return {"enum": list(parameter.choices), "description": parameter.unit}
    schema: dict[str, Any] = {
        "type": "integer" if parameter.whole else "number",
        "minimum": parameter.least,
        "maximum": parameter.most,
        "description": parameter.unit,
    }
    if parameter.not_zero:
        schema["not"] = {"const": 0}
    if parameter.default is not None:
        schema["default"] = parameter.default
    return schema
