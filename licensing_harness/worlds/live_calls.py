"""Faults of whole HTTP calls in the live world: on every client's own link, whatever Toxiproxy is behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from licensing_harness.errors import UsageError
from licensing_harness.faults.call_faults import CALL_ATTRIBUTES, CallFault, call_refusal
from licensing_harness.faults.plan_kinds import KINDS
from licensing_harness.faults.toxics import Toxic
from licensing_harness.vocabulary import FaultKind
from licensing_harness.worlds.breaking import Wanted
from licensing_harness.worlds.route import ALL_CLIENTS, Route

CALLS: Final = {
    FaultKind.CUT_REQUEST: "http_cut_request",
    FaultKind.CUT_ANSWER: "http_cut_answer",
    FaultKind.STATUS: "http_status",
    FaultKind.TRUNCATE_BODY: "http_truncate_body",
    FaultKind.CORRUPT_BODY: "http_corrupt_body",
    FaultKind.STALE_ANSWER: "http_stale_answer",
    FaultKind.DUPLICATE: "http_duplicate",
    FaultKind.REORDER: "http_reorder",
}
"""The extension toxic that does each kind."""


class CallsBroken:
    """One of these on the links of one client, or of all clients.

    Raises NotRun for https, UsageError for parameters that it can't have.
    """

    def __init__(self, route: Route, wanted: Wanted) -> None:
        client = wanted.place.partition("->")[0] or ALL_CLIENTS
        self.where = "wire" if client == ALL_CLIENTS else client
        attributes = _attributes(wanted)
        self.detail: dict[str, Any] = {name: value for name, value in attributes.items() if value}
        if "age" in self.detail:
            self.detail["age"] = attributes["age"] / 1000
        kind = CALLS[wanted.kind]
        self._fault = CallFault(Toxic(name=f"{wanted.kind} on {client}", type=kind, attributes=attributes))
        self._route = route
        route.break_calls(self._fault, client)

    def mend(self) -> int:
        """Remove it, verified; how many calls it really changed."""
        self._route.mend_calls(self._fault)
        return self._fault.toxic.hits


def _attributes(wanted: Wanted) -> dict[str, int]:
    """A plan's parameters as the toxic's: whole numbers, times in milliseconds."""
    kind = CALLS[wanted.kind]
    names = CALL_ATTRIBUTES[kind]
    given: Mapping[str, float] = wanted.parameters
    for name in given:
        if name not in names:
            message = f"{wanted.kind} has no parameter {name!r}; it has {', '.join(names)}"
            raise UsageError(message)
    defaults = {name: each.default for name, each in KINDS[wanted.kind.value].parameters.items() if each.default}
    values = {**dict.fromkeys(names, 0), **defaults, **given}
    if "age" in values:
        values["age"] = round(values["age"] * 1000)
    for name, value in values.items():
        if value != int(value):
            message = f"{wanted.kind}: {name} must be a whole number, not {value!r}"
            raise UsageError(message)
    chosen = {name: int(value) for name, value in values.items()}
    reason = call_refusal(kind, chosen)
    if reason is not None:
        message = f"{wanted.kind}: {reason.removeprefix('invalid attribute: ')}"
        raise UsageError(message)
    return chosen
