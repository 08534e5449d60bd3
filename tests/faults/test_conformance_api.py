"""Routes, attributes and changes, by the API: as on a real Toxiproxy 2.12."""

from __future__ import annotations

import json
from typing import Any

import pytest
from line import TOXICS, Line
from toxiproxy_calls import send

# The API ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/proxies", 200),
        ("GET", "/proxies/p", 200),
        ("GET", TOXICS, 200),
        ("GET", f"{TOXICS}/t", 200),
        ("GET", "/proxies/q", 404),
        ("PATCH", "/proxies/q", 404),
        ("DELETE", "/proxies/q", 404),
        ("POST", "/proxies/q/toxics", 404),
        ("GET", "/proxies/q/toxics/t", 404),
        ("GET", f"{TOXICS}/u", 404),
        ("PATCH", f"{TOXICS}/u", 404),
        ("DELETE", f"{TOXICS}/u", 404),
        ("DELETE", "/proxies", 405),
        ("PUT", "/proxies/p", 405),
        ("DELETE", TOXICS, 405),
        ("PUT", f"{TOXICS}/t", 405),
        ("GET", "/populate", 405),
        ("DELETE", "/reset", 405),
        ("POST", "/version", 405),
        ("GET", "/", 404),
        ("GET", "/proxies/p/", 404),
        ("GET", f"{TOXICS}/t/x", 404),
    ],
)
def test_each_route_answers(line: Line, method: str, path: str, status: int) -> None:
    """Statuses by route and method; errors name what is missing."""
    line.ok("POST", TOXICS, {"type": "noop", "name": "t"})
    got, text, _ = send(line.server, method, path, {} if method in {"POST", "PATCH"} else None)
    assert got == status
    if status == 404 and text.startswith("{"):
        error = {"error": f"{'proxy' if '/q' in path else 'toxic'} not found", "status": 404}
        assert json.loads(text) == error


SHOWN = [
    ("bandwidth", {}, {"rate": 0}),
    ("slow_close", {"DELAY": 7}, {"delay": 7}),
    ("slow_close", {"delay": -1}, {"delay": -1}),
    ("limit_data", {"bytes": 9_007_199_254_740_993}, {"bytes": 9_007_199_254_740_993}),
    ("slicer", {"average_size": 5}, {"average_size": 5, "size_variation": 0, "delay": 0}),
    ("slicer", {"average_size": 5, "size_variation": 5, "delay": 3, "rate": 9}, None),
]


@pytest.mark.parametrize(("type_", "given", "shown"), SHOWN)
def test_attributes_are_shown(line: Line, type_: str, given: dict[str, int], shown: dict[str, int] | None) -> None:
    """Every attribute of the type is shown, by its own name, with zero for what was not given."""
    shown = shown or {"average_size": 5, "size_variation": 5, "delay": 3}
    toxic = line.ok("POST", TOXICS, {"type": type_, "attributes": given})
    assert toxic == {
        "attributes": shown,
        "name": f"{type_}_downstream",
        "type": type_,
        "stream": "downstream",
        "toxicity": 1,
    }
    assert line.ok("GET", "/proxies/p")["toxics"] == [toxic]


NUMBERS = [
    ("bandwidth", "rate", 1.5, "number 1.5"),
    ("bandwidth", "rate", "1", "string"),
    ("bandwidth", "rate", True, "bool"),
    ("bandwidth", "rate", [], "array"),
    ("bandwidth", "rate", 2**63, "number 9223372036854775808"),
    ("slow_close", "delay", 1.5, "number 1.5"),
    ("slicer", "average_size", 0.5, "number 0.5"),
    ("slicer", "size_variation", "x", "string"),
    ("slicer", "delay", {}, "object"),
    ("limit_data", "bytes", False, "bool"),
    ("latency", "jitter", -1.5, "number -1.5"),
    ("timeout", "timeout", "", "string"),
    ("reset_peer", "timeout", -(2**63) - 1, "number -9223372036854775809"),
]


@pytest.mark.parametrize(("type_", "attribute", "value", "kind"), NUMBERS)
def test_an_attribute_is_a_whole_number(line: Line, type_: str, attribute: str, value: Any, kind: str) -> None:
    """Anything else is refused by its kind, and no toxic is made."""
    status, text, _ = send(line.server, "POST", TOXICS, {"type": type_, "attributes": {attribute: value}})
    assert status == 400
    assert json.loads(text)["error"].startswith(f"bad request body: json: cannot unmarshal {kind} into Go struct field")
    assert line.ok("GET", TOXICS) == []


def test_an_update_changes_only_what_it_names(line: Line) -> None:
    """The other attributes and the toxicity stay."""
    path = line.toxic("slicer", "upstream", 0.25, average_size=9, size_variation=4, delay=2)
    shown = line.ok("PATCH", path, {"attributes": {"size_variation": 3}, "name": "other", "type": "noop"})
    assert shown["attributes"] == {"average_size": 9, "size_variation": 3, "delay": 2}
    assert (shown["name"], shown["type"], shown["toxicity"]) == ("slicer_upstream", "slicer", 0.25)
    assert line.ok("GET", path) == shown
