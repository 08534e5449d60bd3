"""Who may change things: API tokens are made and revoked, and the last one can't be."""

from __future__ import annotations

from msgspec.structs import replace

from reference_server.errors import Conflict, Missing
from reference_server.rules.commands import CreateApiToken, RevokeApiToken
from reference_server.rules.states import ApiToken, Outcome, Terms, View


def create(view: View, command: CreateApiToken, now: int, terms: Terms) -> Outcome:
    """A new API token, known by its digest."""
    del view, terms
    token = ApiToken(id=command.token_id, name=command.name, digest=command.digest, created_at=now)
    return Outcome(action="api-token.create", api_token=token, data={"token": token.id, "name": token.name})


def revoke(view: View, command: RevokeApiToken, now: int, terms: Terms) -> Outcome:
    """The token is void from now on. Raises Missing, or Conflict for the last one: nobody could change anything."""
    del terms
    token = view.api_token(command.token_id)
    if token is None or token.revoked_at is not None:
        raise Missing("unknown-api-token")
    if view.active_api_tokens() == 1:
        raise Conflict("last-api-token")
    return Outcome(
        action="api-token.revoke",
        api_token=replace(token, revoked_at=now),
        data={"token": token.id, "name": token.name},
    )
