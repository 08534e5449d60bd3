"""Every kind of fault in the simulated world: what the client sees, what the target did, what the history says."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from toy import world

from licensing_harness.faults.plan_kinds import KINDS
from licensing_harness.history import Fault, Operation
from licensing_harness.vocabulary import Outcome

ACCEPTED, UNKNOWN = Outcome.ACCEPTED, Outcome.UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kind of fault, and what comes of a revoke that is sent while it is on."""

    kind: str
    stream: str = ""
    given: dict[str, float] = field(default_factory=dict)
    outcome: Outcome = UNKNOWN
    reason: str = ""
    revoked: int = 0
    """How often the target has it in its trail, at the end."""
    takes: float = 0.0
    """Seconds that the call takes at least."""
    ahead: float = 0.0
    """Seconds by which the target's clock is ahead, give or take a second."""
    met: int = 1
    """How often the fault was met at least."""

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.stream}" if self.stream else self.kind


ROWS = (
    Row(kind="cut-request", reason="ConnectionResetError: the connection was lost"),
    Row(kind="cut-answer", reason="ConnectionResetError: the connection was lost", revoked=1),
    Row(kind="latency", stream="upstream", given={"latency": 300}, outcome=ACCEPTED, revoked=1, takes=0.3),
    Row(kind="latency", stream="downstream", given={"latency": 300, "jitter": 50}, outcome=ACCEPTED, revoked=1,
        takes=0.25),
    Row(kind="bandwidth", stream="upstream", given={"rate": 500}, outcome=ACCEPTED, revoked=1, takes=0.2),
    Row(kind="bandwidth", stream="downstream", given={"rate": 500}, outcome=ACCEPTED, revoked=1, takes=0.1),
    Row(kind="reset-peer", stream="upstream", reason="ConnectionResetError: the connection was reset"),
    Row(kind="reset-peer", stream="downstream", given={"timeout": 400}, revoked=1,
        reason="ConnectionResetError: the connection was reset"),
    Row(kind="timeout", stream="upstream", given={"timeout": 250},
        reason="ConnectionAbortedError: the connection was closed without an answer"),
    Row(kind="timeout", stream="downstream", reason="TimeoutError: no answer within 5 s", revoked=1),
    Row(kind="proxy-down", reason="ConnectionRefusedError: nobody listens"),
    Row(kind="status", given={"status": 429, "retry_after": 3}, reason="JSONDecodeError"),
    Row(kind="status", given={"status": 500}, reason="HTTP 500"),
    Row(kind="status", given={"status": 502}, reason="HTTP 502"),
    Row(kind="status", given={"status": 503}, reason="HTTP 503"),
    Row(kind="truncate-body", given={"keep": 5}, reason="ConnectionAbortedError: the connection was closed after 5 of",
        revoked=1),
    Row(kind="corrupt-body", given={"bytes": 2}, reason="Decode", revoked=1),
    Row(kind="duplicate", given={"delay": 700}, outcome=ACCEPTED, revoked=2),
    Row(kind="reorder", given={"delay": 800}, outcome=ACCEPTED, revoked=1, takes=0.8),
    Row(kind="clock-offset", given={"offset": -3600}, outcome=ACCEPTED, revoked=1, ahead=-3600),
    Row(kind="clock-drift", given={"drift": 0.5}, outcome=ACCEPTED, revoked=1, ahead=5),
    Row(kind="clock-freeze", outcome=ACCEPTED, revoked=1, ahead=-10),
    Row(kind="clock-jump", given={"by": 600}, outcome=ACCEPTED, revoked=1, ahead=600),
    Row(kind="clock-rollback", given={"by": 600}, outcome=ACCEPTED, revoked=1, ahead=-600),
    Row(kind="crash", reason="ConnectionRefusedError: the target is down"),
    Row(kind="power-loss", reason="ConnectionRefusedError: the target is down"),
    Row(kind="restart", reason="ConnectionRefusedError: the target is down"),
    Row(kind="pause", reason="TimeoutError: no answer within 5 s", revoked=1),
    Row(kind="store-read-only", reason="HTTP 500"),
    Row(kind="store-full", reason="HTTP 500"),
    Row(kind="store-slow", given={"delay": 900}, outcome=ACCEPTED, revoked=1, takes=0.9),
    Row(kind="store-gone", reason="HTTP 500"),
)  # fmt: skip
EACH = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}{row.given.get('status', '')}")
EPOCH = 1_800_000_000.0
WHERE = {"link": "clients->server", "store": "store", "node": "server"}


def told(row: Row) -> tuple[Operation, Operation, list[str], Fault]:
    """A revoke that meets the fault, a validate once it is over, the target's trail, and the fault."""
    with world().story(scenario="s", seed="faults/1") as story:
        licence = story.fresh_licence()
        story.fault(row.kind, stream=row.stream, parameters=row.given, seconds=30)
        story.advance(10)
        met = story.call("vendor", "revoke", licence)
        story.advance(30)
        after = story.call("laptop", "validate", licence)
        trail = story.call("vendor", "audit_log")
    assert met is not None
    assert after is not None
    assert trail is not None
    assert trail.accepted
    return met, after, [each["action"] for each in trail.answer["entries"]], story.history.faults[0]


@EACH
def test_a_fault_has_its_effect_and_is_in_the_history(row: Row) -> None:
    """On the client's outcome, on the target's state, and in the record."""
    met, _, trail, fault = told(row)

    assert met.outcome is row.outcome
    assert row.reason in met.reason
    assert trail.count("revoke") == row.revoked
    assert met.outcome is UNKNOWN or met.ended - met.begin >= row.takes
    if met.accepted:
        assert met.answer["server_time"] - EPOCH - met.begin == pytest.approx(row.ahead, abs=1)
    assert fault.fault.value == row.kind
    assert fault.met >= row.met
    assert fault.where in (WHERE[KINDS[row.kind].where], "target")
    assert row.given.items() <= fault.detail.items()


@EACH
def test_a_fault_is_gone_at_its_very_end(row: Row) -> None:
    """After it a call is answered by the target as if nothing had been, at the right time."""
    _, after, _, fault = told(row)
    lasted = 0.0 if row.kind in ("crash", "power-loss", "restart") else 1e-9

    assert after.outcome is (Outcome.REFUSED if row.revoked else ACCEPTED)
    assert after.ended - after.begin < 0.2
    assert after.answer["server_time"] - EPOCH - after.begin == pytest.approx(0, abs=1)
    assert fault.end is not None
    assert fault.end - fault.begin == pytest.approx(30, abs=lasted or 0.1)


def test_every_kind_that_this_world_can_do_is_in_the_table() -> None:
    """Stale answers need two calls and flapping is a series: they have tests of their own."""
    possible = {name for name, kind in KINDS.items() if not kind.not_simulated}

    assert possible - {row.kind for row in ROWS} == {"stale-answer", "flapping", "rolling-restart"}
