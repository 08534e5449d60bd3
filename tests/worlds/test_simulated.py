"""The simulated world: what is recorded under calm, cuts, crashes and power losses."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any, ClassVar

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from toy import TOY, ToyAdapter, world

from licensing_harness import Adapter, Allowed, Cap, Denied, Grant, HarnessError, NotRun
from licensing_harness.errors import GuardRefused, TargetNotReady, UsageError
from licensing_harness.history import StoryHistory
from licensing_harness.vocabulary import FaultKind, LicenceSpec, Outcome
from licensing_harness.worlds.simulated import SimulatedStory


def actions(story: SimulatedStory) -> list[str]:
    """The target's own trail."""
    trail = story.call("vendor", "audit_log")
    assert trail is not None
    assert trail.accepted
    return [entry["action"] for entry in trail.answer.get("entries", ())]


def test_calls_are_recorded_with_their_answers() -> None:
    """A yes, a no and the reason of the no arrive as operations, in the order in which they began."""
    with world().story(scenario="s") as story:
        licence = story.fresh_licence(seats=1)
        story.call("laptop", "activate", licence)
        story.call("phone", "activate", licence)
    issue, first, second = story.history.operations

    assert (issue.verb, issue.licence, issue.accepted) == ("issue", "L1", True)
    assert first.accepted
    assert (second.outcome, second.reason) == (Outcome.REFUSED, "no-free-seat")
    assert story.history.complete


def test_what_was_waited_for_is_strictly_earlier() -> None:
    """A call that begins after the end of another has a later time: checkers may order them."""
    with world().story(scenario="s") as story:
        licence = story.fresh_licence()
        for _ in range(20):
            story.call("laptop", "validate", licence)
            story.call("phone", "validate", licence)
    operations = story.history.operations

    assert all(before.ended < after.begin for before, after in pairwise(operations))


def test_time_passes_up_to_a_moment_of_the_story() -> None:
    """Counted from the first word; a moment that is over is not waited for, and leaving a step out moves no other."""
    with world().story(scenario="s") as story:
        licence = story.fresh_licence()
        story.until(3)
        story.call("laptop", "validate", licence)
        story.until(2)
        story.call("laptop", "validate", licence)
        story.until(5.5)
        assert story.elapsed == pytest.approx(5.5)
    issue, first, second = story.history.operations

    assert first.begin - issue.begin == pytest.approx(3)
    assert second.begin - issue.begin < 4
    assert {"do": "until", "seconds": 5.5} in story.history.plan


def test_contending_calls_overlap() -> None:
    """All devices are under way at once."""
    with world().story(scenario="s") as story:
        licence = story.fresh_licence()
        story.contend("validate", licence)
    calls = story.history.operations[1:]

    assert len(calls) == 3
    assert max(each.begin for each in calls) < min(each.ended for each in calls)


def test_a_client_is_idle_until_it_calls_and_when_it_was_answered() -> None:
    """That is whether ``start`` would wait."""
    with world().story(scenario="s") as story:
        licence = story.fresh_licence()
        seen = [story.idle("laptop")]
        story.start("laptop", "validate", licence)
        seen.append(story.idle("laptop"))
        story.settle()
        seen.append(story.idle("laptop"))

    assert seen == [True, False, True]


def test_a_cut_request_never_arrives() -> None:
    """The call is unknown, the fault was met, and the target knows nothing of it."""
    with world().story(scenario="s") as story:
        licence = story.fresh_licence()
        story.cut_next("vendor", "request")
        lost = story.call("vendor", "revoke", licence)
        trail = actions(story)
    fault = story.history.faults[0]

    assert lost is not None
    assert lost.unknown
    assert lost.end is None
    assert (fault.fault, fault.where, fault.met) == (FaultKind.CUT_REQUEST, "vendor", 1)
    assert trail == ["issue"]


def test_a_cut_answer_was_applied() -> None:
    """The call is unknown, the fault was met, and the target has done it."""
    with world().story(scenario="s") as story:
        licence = story.fresh_licence()
        story.cut_next("vendor", "answer")
        lost = story.call("vendor", "revoke", licence)
        trail = actions(story)
    fault = story.history.faults[0]

    assert lost is not None
    assert lost.unknown
    assert (fault.fault, fault.met) == (FaultKind.CUT_ANSWER, 1)
    assert trail == ["issue", "revoke"]


def test_a_cut_that_nothing_runs_into_was_not_met() -> None:
    """The fault is recorded all the same, with ``met`` 0."""
    with world().story(scenario="s") as story:
        story.cut_next("phone", "answer")

    assert [(each.met, each.where) for each in story.history.faults] == [(0, "phone")]


def test_a_crash_keeps_what_was_acknowledged() -> None:
    """Restarted, the target knows the licence; the call under way is unknown."""
    unknown = 0
    for chance in range(20):
        with world().story(scenario="s", seed=str(chance)) as story:
            licence = story.fresh_licence()
            story.start("laptop", "activate", licence)
            story.crash()
            story.settle()
            after = story.call("phone", "validate", licence)
        fault = story.history.faults[0]
        unknown += story.history.operations[1].unknown

        assert after is not None
        assert after.accepted
        assert (fault.fault, fault.where, fault.met) == (FaultKind.CRASH, "target", 1)
        assert fault.end is not None
        assert fault.end > fault.begin

    assert 0 < unknown < 20, "a crash hits calls at different moments"


def lost_licences(target: str, *, power: bool) -> int:
    """In how many of 100 stories an acknowledged licence is gone after a crash."""
    gone = 0
    place = world(target)
    for chance in range(100):
        with place.story(scenario="s", seed=str(chance)) as story:
            licence = story.fresh_licence()
            story.crash(power=power)
            after = story.call("phone", "validate", licence)
        assert after is not None
        gone += after.refused
    return gone


def test_only_a_power_loss_shows_an_answer_before_the_fsync() -> None:
    """The defect loses acknowledged licences under power loss, and none under a crash alone."""
    assert lost_licences(TOY + "?early=1", power=True) > 10
    assert lost_licences(TOY + "?early=1", power=False) == 0
    assert lost_licences(TOY, power=True) == 0


def test_time_is_virtual() -> None:
    """A month passes in no time, also on the target's clock."""
    with world().story(scenario="s") as story:
        licence = story.fresh_licence()
        before = story.call("laptop", "validate", licence)
        story.advance(30 * 86_400)
        after = story.call("laptop", "validate", licence)

    assert before is not None
    assert after is not None
    assert after.answer["server_time"] - before.answer["server_time"] == pytest.approx(30 * 86_400, abs=1)


def test_an_answer_that_takes_too_long_is_unknown() -> None:
    """The client gives up after the setting's timeout, in virtual time."""
    with world(TOY + "?sleepy=60", timeout=5).story(scenario="s") as story:
        licence = story.fresh_licence()
        late = story.call("laptop", "validate", licence)
        now = story.now

    assert late is not None
    assert late.unknown
    assert "TimeoutError" in late.reason
    assert 5 <= now < 6


def test_a_target_that_waits_for_ever_is_no_finding() -> None:
    """Nothing is left to happen and a request waits: HarnessError names it."""
    story = world(TOY + "?quiet=1").story(scenario="s")
    licence = story.fresh_licence()

    with pytest.raises(HarnessError, match=r"hangs: .*POST /validate"):
        story.call("laptop", "validate", licence)
    story.close()


def test_a_client_that_has_its_answer_does_not_hide_that_the_target_hangs() -> None:
    """The timeout that was set for it is nothing that is going to happen."""
    story = world(TOY + "?quiet=1").story(scenario="s")
    licence = story.fresh_licence()
    story.start("laptop", "validate", licence)
    answered = story.call("phone", "activate", licence)
    assert answered is not None
    assert answered.accepted

    with pytest.raises(HarnessError, match=r"hangs: .*POST /validate"):
        story.settle()
    story.close()


def test_each_request_of_a_client_has_its_own_timeout() -> None:
    """Three at once, sent one second apart, to a target that sleeps: each is given up in its own time."""
    given_up: list[float] = []

    class Eager(ToyAdapter):
        async def validate(self, key: str, machine: str | None = None) -> Allowed | Denied:
            async def late(seconds: float) -> None:
                await asyncio.sleep(seconds)
                with pytest.raises(TimeoutError):
                    await super(Eager, self).validate(key, machine)
                given_up.append(asyncio.get_running_loop().time())

            await asyncio.gather(late(1), late(0), late(2))
            return Allowed()

    with world(TOY + "?sleepy=60", adapter=Eager, timeout=5).story(scenario="s") as story:
        licence = story.fresh_licence()
        began = story.now
        story.call("laptop", "validate", licence)

    assert [at - began for at in given_up] == [pytest.approx(each, abs=0.001) for each in (5, 6, 7)]


def test_an_exception_in_the_target_is_a_500() -> None:
    """The client sees unknown; the story and the world remember the exception."""
    place = world(TOY + "?boom=1")
    with place.story(scenario="s") as story:
        licence = story.fresh_licence()
        failed = story.call("laptop", "validate", licence)

    assert failed is not None
    assert (failed.outcome, failed.reason) == (Outcome.UNKNOWN, "HTTP 500")
    assert [str(each) for each in story.troubles] == ["boom"]
    assert place.troubles == {"RuntimeError: boom": 1}


def test_a_target_that_does_not_start_is_not_ready() -> None:
    """The reason is its own last line."""
    with pytest.raises(TargetNotReady, match="still asleep"):
        world(TOY + "?still=1").story(scenario="s")


class Blocking(ToyAdapter):
    """Has plain methods."""

    def validate(self, key: str, machine: str | None = None) -> Allowed:  # type: ignore[override]
        return Allowed()

    def release(self, key: str, machine: str) -> Allowed:  # type: ignore[override]
        return Allowed()


def test_plain_verbs_do_not_run_here() -> None:
    """NotRun names them and says the way out."""
    with pytest.raises(NotRun, match=r"plain def: release, validate\. Make them async"):
        world(adapter=Blocking).story(scenario="s")


class Buggy(ToyAdapter):
    """Has a bug."""

    async def validate(self, key: str, machine: str | None = None) -> Allowed:
        raise LookupError("my own bug")


def test_a_bug_of_the_adapter_is_blamed_on_it() -> None:
    """HarnessError with file and line, not a finding."""
    with world(adapter=Buggy).story(scenario="s") as story:
        licence = story.fresh_licence()
        with pytest.raises(HarnessError, match=r"my own bug \(.*test_simulated\.py:\d+\)"):
            story.call("laptop", "validate", licence)


class Nosy(Adapter):
    """Asks for a secret that nobody has."""

    capabilities: ClassVar = {Cap.ISSUE}

    async def issue(self, spec: LicenceSpec) -> Grant:
        return Grant(id="x", key="y")

    def open(self, target: Any) -> None:
        target.secret("other")


def test_a_missing_secret_says_which_variable_to_set() -> None:
    """UsageError out of the word that needed it."""
    with world(adapter=Nosy).story(scenario="s") as story, pytest.raises(UsageError, match="LICENSING_SECRET_OTHER"):
        story.fresh_licence()


def test_the_number_of_requests_is_limited() -> None:
    """Over the limit the guard refuses."""
    with world(max_requests=2).story(scenario="s") as story:
        licence = story.fresh_licence()
        story.call("laptop", "validate", licence)
        with pytest.raises(GuardRefused, match="sent 2 requests"):
            story.call("laptop", "validate", licence)


def test_the_signer_signs_with_the_targets_own_key() -> None:
    """Any header and any claims, also wrong ones."""
    with world().story(scenario="s") as story:
        sign = story._signer()
        public = load_pem_private_key(story._keys, None).public_key()
    assert sign is not None
    token = sign({"alg": "EdDSA", "kid": "k", "typ": "x"}, {"iss": 7, "sub": "lic"})

    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "kid": "k", "typ": "x"}
    assert jwt.decode(token, public, algorithms=["EdDSA"], options={"verify_iss": False})["sub"] == "lic"


def test_the_world_adds_what_it_can_do() -> None:
    """Restart and signing are the world's, the rest is the adapter's."""
    place = world()

    assert place.capabilities == frozenset(ToyAdapter.capabilities) | {Cap.RESTART, Cap.TEST_SIGNER}
    assert place.contract is ToyAdapter.contract
    place.close()


def test_leaving_out_a_call_changes_no_other_delay() -> None:
    """Chance belongs to the call, not to its number: that is what makes a story shrink."""

    def took(*, with_phone: bool) -> float:
        with world().story(scenario="s", seed="7") as story:
            licence = story.fresh_licence()
            if with_phone:
                story.call("phone", "validate", licence)
            operation = story.call("laptop", "validate", licence)
        assert operation is not None
        return round(operation.ended - operation.begin, 6)

    assert took(with_phone=True) == took(with_phone=False)


def busy_story(place: Any, chance: int) -> StoryHistory:
    """Every verb, every cut, a crash and a power loss."""
    with place.story(scenario="busy", seed=str(chance)) as story:
        first = story.fresh_licence(seats=1)
        story.contend("activate", first)
        story.cut_next("phone", "answer")
        story.start("phone", "validate", first)
        story.start("laptop", "release", first)
        story.crash(power=chance % 2 == 0)
        story.contend("release", first)
        second = story.fresh_licence(seats=2)
        story.cut_next("vendor", "request")
        story.start("vendor", "issue", second)
        story.contend("activate", second)
        story.start("vendor", "revoke", first)
        story.advance(0.002)
        story.crash()
        story.contend("validate", second)
        story.settle()
        story.call("vendor", "audit_log")
        return story.history  # type: ignore[no-any-return]


def test_the_same_seed_gives_the_same_history() -> None:
    """Forty seeds, twice: equal digests, all different, and something of every kind was accepted."""
    first, second = world(), world()
    histories = [busy_story(first, chance) for chance in range(40)]
    digests = [each.digest() for each in histories]
    accepted = {each.verb for history in histories for each in history.operations if each.accepted}

    assert [busy_story(second, chance).digest() for chance in range(40)] == digests
    assert len(set(digests)) == 40
    assert accepted == {"issue", "validate", "activate", "release", "revoke", "audit_log"}
    assert json.dumps(histories[0].plan)
