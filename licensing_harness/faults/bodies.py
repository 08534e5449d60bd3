"""Request bodies, read as Toxiproxy (Go's encoding/json) reads them.

Keys match in any case, unknown keys and whatever follows the first value are
ignored, ``null`` leaves the default, and a whole number is not written with a
point. Errors begin as Toxiproxy's do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Self


class BadBody(Exception):
    """The body is not what the route takes; the text is the answer's ``error``."""


class _Real(float):
    """A number that was written with a point or an exponent."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Keep how it was written: Go's errors quote it."""
        real = super().__new__(cls, text)
        real.text = text
        return real


_DECODE: Final = json.JSONDecoder(parse_float=_Real)
_INT64: Final = 2**63
_FLOAT32: Final = 3.4028234663852886e38
_GO: Final = {str: "string", bool: "bool", int: "int64", float: "float32"}


def read(body: bytes) -> Any:
    """The first JSON value of ``body``. Raises BadBody."""
    text = body.decode("utf-8", "replace").lstrip()
    if not text:
        raise BadBody("bad request body: EOF")
    try:
        value, _ = _DECODE.raw_decode(text)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        what = "unexpected EOF" if cut else f"invalid character {text[error.pos]!r} looking for beginning of value"
        raise BadBody(f"bad request body: {what}") from error
    except (RecursionError, ValueError) as error:  # nested too deep, or a number of too many digits
        raise BadBody("bad request body: json: too large a value") from error
    return value


def fields(value: Any, types: Mapping[str, type], into: str) -> dict[str, Any]:
    """The members of a JSON object that ``types`` names, checked. Raises BadBody.

    ``into`` is the Go type that Toxiproxy would name in an error.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadBody(f"bad request body: json: cannot unmarshal {_kind(value)} into Go value of type {into}")
    given = {str(name).lower(): member for name, member in value.items() if member is not None}
    return {name: _typed(given[name], wanted, f"{into.rpartition('.')[2]}.{name}") for name, wanted in types.items()
            if name in given}  # fmt: skip


def attributes(value: Any, names: tuple[str, ...]) -> dict[str, int]:
    """The attributes in ``value`` that a toxic with these ``names`` has. Raises BadBody."""
    members: dict[str, Any] = value if isinstance(value, dict) else {}
    given = next((member for name, member in members.items() if name.lower() == "attributes"), None)
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise BadBody(
            f"bad request body: json: cannot unmarshal {_kind(given)} into Go struct field "
            "ToxicWrapper.attributes of type toxics.NoopToxic"
        )
    lowered = {str(name).lower(): member for name, member in given.items() if member is not None}
    return {name: _typed(lowered[name], int, f".attributes.{name}") for name in names if name in lowered}


def _typed(value: Any, wanted: type, where: str) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if wanted is bool and isinstance(value, bool):
        return value
    if wanted is str and isinstance(value, str):
        return value
    if wanted is int and whole and -_INT64 <= value < _INT64:
        return value
    if wanted is float and (whole or isinstance(value, _Real)) and -_FLOAT32 <= value <= _FLOAT32:
        return float(value)
    written = value.text if isinstance(value, _Real) else value
    number = wanted in {int, float} and (whole or isinstance(value, _Real))
    shown = f"number {written}" if number else _kind(value)
    raise BadBody(
        f"bad request body: json: cannot unmarshal {shown} into Go struct field {where} of type {_GO[wanted]}"
    )


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int() | float():
            return "number"
        case list():
            return "array"
        case _:
            return "object"
