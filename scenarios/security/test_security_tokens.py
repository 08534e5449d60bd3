"""Forged, altered, confused and expired access tokens are refused, and the honest one stays good."""

from __future__ import annotations

import pytest

from licensing_harness.suite import ATTACKS, Cap, NotRun, Story

FORGED = [attack.id for attack in ATTACKS.values() if not attack.needs_signer]
SIGNED = [attack.id for attack in ATTACKS.values() if attack.needs_signer]
MARGIN = 0.2
"""Seconds that a token is left beyond its time."""


def try_attack(story: Story, attack: str) -> None:
    """The honest token, the forged one, the honest one again; after the published keys, which some forgers need."""
    licence = story.fresh_licence(features=("base", "export"))
    story.call("laptop", "issue_token", licence)
    story.call("laptop", "jwks", licence)
    story.call("laptop", "validate_token", licence)
    story.call("laptop", "validate_token", licence, **ATTACKS[attack].asked)
    story.call("laptop", "validate_token", licence)


@pytest.mark.licensing(tries=("TOK-001", "TOK-002", "TOK-004"), needs=(Cap.ISSUE, Cap.TOKENS))
@pytest.mark.parametrize("attack", FORGED)
def test_security_tokens_forged(licensing_story: Story, attack: str) -> None:
    """A token that anyone could make out of an honest one and public keys is refused."""
    try_attack(licensing_story, attack)


@pytest.mark.licensing(tries=("TOK-001", "TOK-002", "TOK-004"), needs=(Cap.ISSUE, Cap.TOKENS, Cap.TEST_SIGNER))
@pytest.mark.parametrize("attack", SIGNED)
def test_security_tokens_signed(licensing_story: Story, attack: str) -> None:
    """A token that carries the target's own signature and is still no access token is refused."""
    try_attack(licensing_story, attack)


@pytest.mark.licensing(tries=("TOK-001",), needs=(Cap.ISSUE, Cap.TOKENS))
def test_security_tokens_expire(licensing_story: Story) -> None:
    """An honest token is good within its time and refused after it."""
    story = licensing_story
    lifetime = story.contract.token_lifetime
    if lifetime is None:
        raise NotRun("TOK-001 on expiry needs token_lifetime: not stated in the contract")
    licence = story.fresh_licence()
    story.call("laptop", "issue_token", licence)
    story.contend("validate_token", licence)
    story.settle()
    story.advance(lifetime + (story.contract.clock_tolerance or 0.0) + MARGIN)
    story.contend("validate_token", licence)
    story.settle()


@pytest.mark.licensing(tries=("TOK-003",), needs=(Cap.TOKENS,))
def test_security_jwks(licensing_story: Story) -> None:
    """The published keys are public ones only, before and after a token was issued."""
    story = licensing_story
    story.call("laptop", "jwks")
    licence = story.fresh_licence()
    story.call("laptop", "issue_token", licence)
    story.call("laptop", "jwks")
