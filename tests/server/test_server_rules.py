"""The rules are pure: state, command and time in, outcome or refusal out."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from reference_server import rules
from reference_server.errors import Conflict, Forbidden, Missing, Refused
from reference_server.ledger import seal
from reference_server.projection import Book, Overlay
from reference_server.rules import commands
from reference_server.rules.decision import decide
from reference_server.rules.dispatch import DECISIONS
from reference_server.rules.lifecycle import status
from reference_server.rules.seats import live
from reference_server.rules.states import ApiToken, LicenceState, Outcome, Terms

NOW = 1_000_000
TERMS = Terms(lease=2_000, token_lifetime=3)
LICENCE = LicenceState(
    id="lic_a",
    plan="standard",
    seats=2,
    features=("base", "pro"),
    customer="somebody",
    standing="active",
    issued_at=NOW,
    expires_at=NOW + 1_000,
    number=1,
)


def ask(
    command: commands.Command,
    *,
    licence: LicenceState | None = LICENCE,
    leases: dict[str, int] | None = None,
    tokens: tuple[ApiToken, ...] = (),
    now: int = NOW,
) -> Outcome:
    """What the rules say to a command, in a world with one licence."""
    book = Book()
    if licence is not None:
        book.put_licence(licence)
        book.leases[licence.id] = leases or {}
    for token in tokens:
        book.put_api_token(token)
    overlay = Overlay(book, now, live=live, seal=seal)
    return DECISIONS[type(command)](overlay, command, now, TERMS)


def on(kind: Any, **more: Any) -> commands.Command:
    """A command about the licence."""
    made: commands.Command = kind(actor="tok_a", licence_id="lic_a", **more)
    return made


RENEW = on(commands.Renew, duration=5_000)
SUSPEND = on(commands.Suspend, reason="unpaid")
REINSTATE = on(commands.Reinstate, reason="paid")
REVOKE = on(commands.Revoke, reason="fraud")
ACTIVATE = on(commands.Activate, device="laptop")
HEARTBEAT = on(commands.Heartbeat, device="laptop")
RELEASE = on(commands.Release, device="laptop")
SUSPENDED = replace(LICENCE, standing="suspended")
REVOKED = replace(LICENCE, standing="revoked")


@pytest.mark.parametrize(
    ("licence", "now", "expected"),
    [
        (LICENCE, NOW, "active"),
        (LICENCE, NOW + 999, "active"),
        (LICENCE, NOW + 1_000, "expired"),
        (replace(LICENCE, expires_at=None), 2**53, "active"),
        (SUSPENDED, NOW, "suspended"),
        (SUSPENDED, NOW + 1_000, "suspended"),
        (REVOKED, NOW + 1_000, "revoked"),
    ],
)
def test_a_licence_is_over_at_the_millisecond_it_names(licence: LicenceState, now: int, expected: str) -> None:
    """A revocation outweighs a suspension, and both outweigh the end of the term."""
    assert status(licence, now) == expected


def test_issue_starts_a_term_now() -> None:
    """A duration is counted from now; without one the licence is for ever."""
    issue = commands.Issue(
        actor="tok_a", licence_id="lic_b", plan="pro", seats=3, features=("x",), duration=10, customer="c"
    )
    for command, expires in ((issue, NOW + 10), (replace(issue, duration=None), None)):
        outcome = ask(command, licence=None)

        assert outcome.licence is not None
        assert (outcome.action, outcome.licence.standing) == ("issue", "active")
        assert outcome.licence.expires_at == outcome.data["expires_at"] == expires


@pytest.mark.parametrize("licence", [LICENCE, SUSPENDED, replace(LICENCE, expires_at=NOW - 1)])
def test_renew_counts_from_now_and_changes_nothing_else(licence: LicenceState) -> None:
    """Active, suspended and expired licences get a new term; a suspended one stays suspended."""
    assert ask(RENEW, licence=licence).licence == replace(licence, expires_at=NOW + 5_000)


@pytest.mark.parametrize("command", [RENEW, SUSPEND, REINSTATE, REVOKE], ids=lambda each: type(each).__name__)
def test_a_revoked_licence_never_changes_again(command: commands.Command) -> None:
    """Not by renewal, reinstatement, suspension or a second revocation."""
    with pytest.raises(Conflict, match=r"^revoked$"):
        ask(command, licence=REVOKED)


def test_suspension_is_set_once_and_lifted_once() -> None:
    """A second suspension and a second reinstatement are conflicts."""
    assert ask(SUSPEND).licence == SUSPENDED
    assert ask(REINSTATE, licence=SUSPENDED).licence == LICENCE
    with pytest.raises(Conflict, match=r"^suspended$"):
        ask(SUSPEND, licence=SUSPENDED)
    with pytest.raises(Conflict, match=r"^not-suspended$"):
        ask(REINSTATE)


def test_revocation_ends_an_active_or_suspended_licence() -> None:
    """Whatever its term."""
    assert ask(REVOKE).licence == ask(REVOKE, licence=SUSPENDED).licence == REVOKED


@pytest.mark.parametrize(
    "command",
    [RENEW, SUSPEND, REINSTATE, REVOKE, ACTIVATE, HEARTBEAT, RELEASE],
    ids=lambda each: type(each).__name__,
)
def test_there_is_no_command_for_a_licence_that_is_not(command: commands.Command) -> None:
    """It is missing, and said so."""
    with pytest.raises(Missing, match=r"^unknown-licence$"):
        ask(command, licence=None)


def test_a_seat_is_given_while_one_is_free() -> None:
    """The lease runs from now; the holder of a seat gets a new lease and no second seat."""
    first = ask(ACTIVATE, leases={"phone": NOW + 1}).seat
    again = ask(ACTIVATE, leases={"phone": NOW + 1, "laptop": NOW + 1}).seat

    assert first == again
    assert first is not None
    assert (first.until, first.taken, first.seats) == (NOW + 2_000, 2, 2)


def test_no_seat_is_given_when_all_are_taken() -> None:
    """Two seats, two other holders."""
    with pytest.raises(Conflict, match=r"^no-free-seat$"):
        ask(ACTIVATE, leases={"phone": NOW + 1, "tablet": NOW + 1})


def test_a_lease_is_over_at_the_millisecond_it_names() -> None:
    """From then on its seat is free for another, and its heartbeat comes too late."""
    leases = {"laptop": NOW, "phone": NOW + 1}
    other = on(commands.Activate, device="tablet")

    seat = ask(other, leases=leases).seat
    assert seat is not None
    assert seat.taken == 2
    with pytest.raises(Conflict, match=r"^no-such-seat$"):
        ask(HEARTBEAT, leases=leases)
    with pytest.raises(Conflict, match=r"^no-free-seat$"):
        ask(other, leases=leases, now=NOW - 1)


def test_a_heartbeat_keeps_the_seat() -> None:
    """The lease runs from now again."""
    seat = ask(HEARTBEAT, leases={"laptop": NOW + 1}).seat

    assert seat is not None
    assert (seat.until, seat.taken) == (NOW + 2_000, 1)


@pytest.mark.parametrize(
    ("licence", "now", "code"),
    [(REVOKED, NOW, "revoked"), (SUSPENDED, NOW, "suspended"), (LICENCE, NOW + 1_000, "expired")],
)
def test_seats_need_a_licence_in_force_but_can_always_be_given_back(licence: LicenceState, now: int, code: str) -> None:
    """Activate and heartbeat are forbidden, release is not."""
    leases = {"laptop": now + 1}
    for command in (ACTIVATE, HEARTBEAT):
        with pytest.raises(Forbidden, match=rf"^{code}$"):
            ask(command, licence=licence, leases=leases, now=now)
    seat = ask(RELEASE, licence=licence, leases=leases, now=now).seat

    assert seat is not None
    assert (seat.until, seat.taken) == (None, 0)
    with pytest.raises(Conflict, match=r"^no-such-seat$"):
        ask(RELEASE, licence=licence, leases={"laptop": now}, now=now)


def test_the_last_api_token_stays() -> None:
    """Of two, one can be revoked; the one that is left can't, and a revoked one is no more."""
    one, two = (ApiToken(id=each, name=each, digest=each.encode(), created_at=1) for each in ("tok_1", "tok_2"))
    gone = replace(two, revoked_at=2)
    command = commands.RevokeApiToken(actor="tok_1", token_id="tok_2")

    assert ask(command, tokens=(one, two)).api_token == replace(two, revoked_at=NOW)
    with pytest.raises(Missing, match=r"^unknown-api-token$"):
        ask(command, tokens=(one, gone))
    with pytest.raises(Conflict, match=r"^last-api-token$"):
        ask(replace(command, token_id="tok_1"), tokens=(one, gone))


def test_a_decision_grants_features_only_while_the_licence_is_in_force() -> None:
    """A no grants nothing, and says why."""
    yes, over = decide(LICENCE, NOW), decide(LICENCE, NOW + 1_000)

    assert (yes.valid, yes.reason, yes.features) == (True, None, ("base", "pro"))
    assert (over.valid, over.reason, over.features) == (False, "expired", ())
    assert [decide(each, NOW).reason for each in (SUSPENDED, REVOKED, None)] == [
        "suspended",
        "revoked",
        "unknown-licence",
    ]


def test_every_refusal_has_a_status() -> None:
    """404, 403 and 409 by the kind of refusal, so that rules need not know HTTP."""
    assert {each("x").status for each in (Missing, Forbidden, Conflict)} == {404, 403, 409}
    assert issubclass(Missing, Refused)


def test_rules_import_nothing_that_waits_or_draws() -> None:
    """Only the standard library's types, msgspec, each other and the refusals."""
    allowed = ("__future__", "typing", "types", "collections.abc", "msgspec", "reference_server.rules")
    found = set()
    for path in Path(rules.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                found.add(node.module)
            elif isinstance(node, ast.Import):
                found |= {each.name for each in node.names}

    assert {each for each in found if not str(each).startswith(allowed)} == {"reference_server.errors"}
