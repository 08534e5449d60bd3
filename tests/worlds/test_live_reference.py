"""The live world on the reference server, started as users start it."""

from __future__ import annotations

import base64
import importlib.util
import json
from collections.abc import Iterator
from typing import Any

import pytest

from licensing_harness.errors import UsageError
from licensing_harness.history import Header, HistoryWriter
from licensing_harness.masking import Masker
from licensing_harness.vocabulary import Cap, Outcome
from licensing_harness.worlds.live import LiveWorld
from licensing_harness.worlds.process import ReferenceProcess
from licensing_harness.worlds.story import Setting

reference = pytest.importorskip("licensing_harness.target.reference")
if importlib.util.find_spec("reference_server.__main__") is None:
    pytest.skip("the reference server is not here", allow_module_level=True)


def again(_: str, token: str, sign: Any, *_more: Any) -> str:
    """The same header and claims, signed once more by the target's own key."""
    header, claims, _signature = (part + "=" * (-len(part) % 4) for part in token.split("."))
    return sign(*(json.loads(base64.urlsafe_b64decode(part)) for part in (header, claims)))


def setting(**more: Any) -> Setting:
    masker = Masker()
    return Setting(
        adapter=reference.ReferenceAdapter,
        writer=HistoryWriter(None, Header(), masker),
        masker=masker,
        seed=1,
        tag="live-reference",
        forge=again,
        **more,
    )


@pytest.fixture(scope="module")
def world() -> Iterator[LiveWorld]:
    live = LiveWorld(ReferenceProcess(), setting())
    yield live
    live.close()


def test_it_restarts_and_signs(world: LiveWorld) -> None:
    """A target that we started can be killed and has lent its key."""
    assert {Cap.RESTART, Cap.TEST_SIGNER} < world.capabilities


def test_what_was_acknowledged_survives_kill_9(world: LiveWorld) -> None:
    """Killed with calls under way: what it acknowledged is known, what it did not is unknown, none is refused."""
    with world.story(scenario="kill-9") as story:
        label = story.fresh_licence(seats=3)
        story.contend("activate", label)
        story.start("vendor", "renew", label, duration=3600)
        story.crash()
        story.settle()
        for device in story.devices:
            seen = story.call(device, "validate", label)
            taken = story.call(device, "activate", label)
            assert seen is not None
            assert taken is not None
            assert (seen.outcome, taken.outcome) == (Outcome.ACCEPTED, Outcome.ACCEPTED)
        trail = story.call("vendor", "audit_log")
    assert trail is not None
    assert trail.accepted
    assert [each for each in story.history.operations if each.refused] == []
    assert {entry["action"] for entry in trail.answer["entries"]} >= {"issue", "activate"}


def test_its_signature_is_the_servers(world: LiveWorld) -> None:
    """The server accepts what was signed with its key file."""
    with world.story(scenario="sign") as story:
        label = story.fresh_licence()
        story.call("laptop", "issue_token", label)
        signed = story.call("laptop", "validate_token", label, attack="none-at-all")
    assert signed is not None
    assert signed.accepted


def test_a_wrong_api_token_is_told_by_the_adapter(world: LiveWorld) -> None:
    """By its URL the server is nobody's: a wrong token is a usage error that names the variable."""
    other = LiveWorld(world.endpoint.url, setting(secrets={"api_token": "lat_wrong"}))
    story = other.story(scenario="token")
    with pytest.raises(UsageError, match="LICENSING_SECRET_API_TOKEN"):
        story.fresh_licence()
    story.close()
    other.close()
