"""Faults of whole HTTP calls in a live story: on the clients' own links, with either Toxiproxy behind them, or none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import toy_live
from test_live import setting, tell
from toy_live import AsyncToy, needs_binary

from licensing_harness import Indeterminate
from licensing_harness.errors import NotRun, UsageError
from licensing_harness.history import Fault
from licensing_harness.vocabulary import FaultKind, Outcome
from licensing_harness.worlds.live import LiveWorld
from licensing_harness.worlds.live_story import LiveStory


class Careful(AsyncToy):
    """An adapter that takes nothing for its server's answer that is no JSON object."""

    async def _post(self, path: str, **body: Any) -> tuple[int, Any]:
        answer = await self.http.request("POST", path, json=body, headers=self.auth)
        try:
            said = answer.json()
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise Indeterminate("no JSON") from error
        if not isinstance(said, dict) or not {"features", "id", "code"} & said.keys():
            raise Indeterminate("somebody else's answer")
        return answer.status_code, said


@pytest.fixture(params=["none", "embedded", pytest.param("toxiproxy", marks=needs_binary)])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LiveWorld]:
    behind = "embedded" if request.param == "none" else request.param
    with toy_live.served(toy_live.State(tmp_path / "toy.log")) as url:
        made = LiveWorld(url, setting(Careful), faults=behind)
        if request.param != "none":
            made.route.open_toxiproxy()
        yield made
        made.setting.writer.close()
        made.close()


def fault_of(story: LiveStory) -> Fault:
    (fault,) = story.history.faults
    return fault


ANSWERED = [
    ("cut-request", {}, Outcome.UNKNOWN),
    ("cut-answer", {}, Outcome.UNKNOWN),
    ("status", {"status": 200}, Outcome.UNKNOWN),
    ("status", {"status": 429, "retry_after": 2}, Outcome.UNKNOWN),
    ("status", {"status": 503}, Outcome.UNKNOWN),
    ("truncate-body", {"keep": 4}, Outcome.UNKNOWN),
    ("corrupt-body", {"bytes": 1000}, Outcome.UNKNOWN),
    ("duplicate", {}, Outcome.ACCEPTED),
]


@pytest.mark.parametrize(("kind", "parameters", "outcome"), ANSWERED, ids=str)
def test_a_call_meets_its_fault(live: LiveWorld, kind: str, parameters: dict[str, float], outcome: Outcome) -> None:
    """The call ends as the fault says, the history tells how often it was met, and the next call is answered."""
    with tell(live) as story:
        label = story.fresh_licence()
        on = story.fault(kind, parameters={**parameters, "first": 1})
        met = story.call("laptop", "validate", label)
        again = story.call("laptop", "validate", label)
        story.mend(on)
        after = story.call("phone", "validate", label)
    assert met is not None
    assert again is not None
    assert after is not None
    assert (met.outcome, again.outcome, after.outcome) == (outcome, Outcome.ACCEPTED, Outcome.ACCEPTED)
    fault = fault_of(story)
    assert (fault.fault, fault.where, fault.met) == (FaultKind(kind), "wire", 1)
    assert fault.detail == {**parameters, "first": 1}


def test_a_stale_answer_says_what_was_true_before(live: LiveWorld) -> None:
    """After an acknowledged revoke the client still gets its old yes, as its link remembers it."""
    with tell(live) as story:
        label = story.fresh_licence()
        story.call("laptop", "validate", label)
        story.advance(0.05)
        story.call("vendor", "revoke", label)
        on = story.fault("stale-answer", parameters={"age": 0.05})
        stale = story.call("laptop", "validate", label)
        fresh = story.call("phone", "validate", label)
        story.mend(on)
        after = story.call("laptop", "validate", label)
    assert stale is not None
    assert fresh is not None
    assert after is not None
    assert (stale.outcome, fresh.outcome, after.outcome) == (Outcome.ACCEPTED, Outcome.REFUSED, Outcome.REFUSED)
    assert (fault_of(story).met, fault_of(story).detail) == (1, {"age": 0.05})


def test_requests_change_places(live: LiveWorld) -> None:
    """A request of one client arrives after that of another, which was sent later."""
    with tell(live) as story:
        label = story.fresh_licence(seats=1)
        for client in ("laptop", "phone"):
            story.call(client, "validate", label)
        on = story.fault("reorder", parameters={"delay": 5_000})
        story.start("laptop", "activate", label)
        while not any(link.waiting for link in live.route.links):
            live.clock.sleep(0.005)
        story.call("phone", "activate", label)
        story.settle()
        story.mend(on)
    first, second = (each for each in story.history.operations if each.verb == "activate")
    assert (first.client, first.outcome, second.outcome) == ("laptop", Outcome.REFUSED, Outcome.ACCEPTED)
    assert fault_of(story).met == 1


def test_a_fault_on_one_link_leaves_the_others_alone(live: LiveWorld) -> None:
    """It falls on that client alone, even when the client comes later; ``clients`` are all of them."""
    with tell(live) as story:
        label = story.fresh_licence()
        on = story.fault("status", place="laptop->server", parameters={"status": 503})
        mine, other = (story.call(client, "validate", label) for client in ("laptop", "phone"))
        story.mend(on)
        everybody = story.fault("status", place="clients->server", parameters={"status": 503})
        both = [story.call(client, "validate", label) for client in ("laptop", "phone")]
        story.mend(everybody)
    assert mine is not None
    assert other is not None
    assert (mine.outcome, other.outcome) == (Outcome.UNKNOWN, Outcome.ACCEPTED)
    assert [each.outcome for each in both if each is not None] == [Outcome.UNKNOWN] * 2
    assert [(each.where, each.met) for each in story.history.faults] == [("laptop", 1), ("wire", 2)]


def test_a_fault_that_no_call_met_counts_nothing(live: LiveWorld) -> None:
    """It is in the history with 0, which makes a run undecided; and it is gone."""
    with tell(live) as story:
        label = story.fresh_licence()
        story.mend(story.fault("corrupt-body"))
        after = story.call("laptop", "validate", label)
    assert fault_of(story).met == 0
    assert after is not None
    assert after.outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("kind", "parameters", "said"),
    [
        ("status", {"status": 418}, "status: 418 is none of 200, 429, 500, 502, 503"),
        ("status", {}, "status needs 'status', one of 200"),
        ("status", {"status": 500, "retry_after": 1}, "retry_after goes with 429 and 503"),
        ("duplicate", {"first": 1, "every": 2}, "'first' and 'every' exclude each other"),
        ("truncate-body", {"keep": 1.5}, "keep: 1.5 is not a whole number"),
        ("reorder", {}, "reorder needs 'delay'"),
        ("cut-answer", {"toxicity": 1}, "unknown parameter 'toxicity'; known: first, every"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(
    live: LiveWorld, kind: str, parameters: dict[str, float], said: str
) -> None:
    """With the parameter and the way out; nothing is set."""
    with tell(live) as story, pytest.raises(UsageError, match=said):
        story.fault(kind, parameters=parameters)
    assert story.history.faults == []


def test_a_target_by_https_is_not_run(tmp_path: Path) -> None:
    """Nobody can read calls in TLS."""
    from licensing_harness.clock import RealClock
    from licensing_harness.faults.call_faults import CallFault
    from licensing_harness.faults.toxics import Toxic
    from licensing_harness.target.guard import check_target
    from licensing_harness.worlds.route import Route

    route = Route(
        check_target("https://127.0.0.1:9", allow=()), faults="embedded", allow=(), seed=1, tag="t", clock=RealClock()
    )
    with pytest.raises(NotRun, match="needs plain HTTP"):
        route.break_calls(CallFault(Toxic(name="f", type="http_status")), "clients")
    route.close()
