"""One run for every report: something held, broken, undecided and not run, with a secret planted in each place."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from licensing_harness.checkers.tally import Tally
from licensing_harness.history import Fault, Header, Operation, StoryHistory
from licensing_harness.masking import Masker
from licensing_harness.verdict import RunResult
from licensing_harness.vocabulary import FaultKind, Outcome

SECRET = "L1CENCE-key.planted"


@dataclass
class Run:
    header: Header
    tally: Tally
    result: RunResult
    masker: Masker


def operation(n: int, client: str, verb: str, begin: float, end: float | None, **more: object) -> Operation:
    fields = {"outcome": Outcome.ACCEPTED if end is not None else Outcome.UNKNOWN, "licence": "L1", **more}
    return Operation(n=n, story="s1", client=client, verb=verb, begin=begin, end=end, **fields)  # type: ignore[arg-type]


def planted_run() -> Run:
    """Two devices over-book a seat; the bound of the revocation is never tried; offline is not stated."""
    header = Header(
        run="20261125T023059Z-abc123",
        harness="0.1.0",
        target=f"http://127.0.0.1:1/?key={SECRET}",
        capabilities=("idempotency", "issue", "revoke", "seats", "validate"),
        not_applicable={"audit": f"kept elsewhere under {SECRET}"},
        contract={"revocation_bound": 0.0, "lease": 2.0},
        seed=7,
    )
    asked = {"seats": 1, "features": ["base"], "idempotency_key": "k", "customer": SECRET}
    story = StoryHistory(
        story="s1",
        world="simulated",
        scenario=f"seats/test_seats.py::test_race_{SECRET}",
        tries=("SEA-001", "REV-001"),
        seed="7/1",
        plan=[{"do": "call", "client": SECRET}],
        complete=True,
        operations=[
            operation(1, "vendor", "issue", 0.0, 0.01, asked=asked, answer={"id": "id-1", "note": SECRET}),
            operation(2, "laptop", "activate", 0.02, 0.05, asked={"device": SECRET}),
            operation(3, "phone", "activate", 0.03, 0.06, asked={"device": "phone"}),
            operation(4, "tablet", "activate", 0.07, 0.08, outcome=Outcome.REFUSED, reason="no-free-seat"),
            operation(5, "phone", "validate", 0.1, None, reason=f"HTTP 502 <{SECRET}> & \x00\x1b[31m"),
        ],
        faults=[
            Fault(n=6, story="s1", fault=FaultKind.CUT_ANSWER, begin=0.1, end=0.2, where=SECRET, met=1),
        ],
    )
    tally = Tally(header)
    tally.judge(story)
    tally.not_run("offline/test_offline.py::test_month", "live", f"needs a clock, says {SECRET}")
    tally.failed(f"an error that names {SECRET}", 0)
    tally.note(f"a note that names {SECRET}")
    masker = Masker()
    masker.register(SECRET)
    return Run(header, tally, tally.result(depth="smoke", started="2026-11-25T02:30:59Z", seconds=1.5), masker)


@pytest.fixture
def run() -> Run:
    return planted_run()


@pytest.fixture
def secret() -> str:
    return SECRET
