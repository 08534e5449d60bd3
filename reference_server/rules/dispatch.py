"""Which function decides which command."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from reference_server.rules import api_tokens, lifecycle, seats
from reference_server.rules.commands import (
    Activate,
    Command,
    CreateApiToken,
    Heartbeat,
    Issue,
    Reinstate,
    Release,
    Renew,
    Revoke,
    RevokeApiToken,
    Suspend,
)
from reference_server.rules.states import Decide

DECISIONS: Final[Mapping[type[Command], Decide]] = MappingProxyType(
    {
        Issue: lifecycle.issue,
        Renew: lifecycle.renew,
        Suspend: lifecycle.suspend,
        Reinstate: lifecycle.reinstate,
        Revoke: lifecycle.revoke,
        Activate: seats.activate,
        Heartbeat: seats.heartbeat,
        Release: seats.release,
        CreateApiToken: api_tokens.create,
        RevokeApiToken: api_tokens.revoke,
    }
)
