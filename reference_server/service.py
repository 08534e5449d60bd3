"""The running server without its HTTP: what every operation works with."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from reference_server.clock import Ticks
from reference_server.entropy import Entropy
from reference_server.errors import StoreError
from reference_server.licence_keys import LicenceKeys
from reference_server.projection import Book
from reference_server.rules.commands import Command, Probe
from reference_server.rules.decision import Decision, Reason
from reference_server.rules.states import Licences, LicenceState, Terms
from reference_server.store.adapter import Store
from reference_server.writer import SERVER, Writer

Validate = Callable[[LicenceState | None, int, Reason], Decision]
"""``validate(licence, now, reason when there is none)``."""

Decided = Callable[["Service", Any], Awaitable[Decision]]
"""From a validation request to its decision. Raises BadRequest."""

ForToken = Callable[[Licences, str, int], LicenceState]
"""The licence for which a token is wanted, if it may have one at this time. Raises Refused."""

Claims = Callable[[LicenceState, int, Terms, Entropy], Mapping[str, Any]]
"""What a token says of a licence at a time."""

Submit = Callable[["Service", Command], Awaitable[msgspec.Struct]]
"""How a command reaches the writer and its answer comes back."""

READY_SECONDS = 2.0
"""How long a readiness check waits for the store."""


class VerifiesTokens(Protocol):
    """Says whether an access token is good."""

    def verify(self, token: str, now: float) -> Mapping[str, Any]:
        """The claims of a token that is good at ``now`` (Unix seconds). Raises TokenInvalid."""
        ...


Mint = Callable[[Mapping[str, Any]], str]
"""A signed access token with these claims."""

Jwks = Callable[[], Mapping[str, Any]]
"""The public keys, as a JSON Web Key Set."""


@dataclass(kw_only=True, slots=True)
class Service:
    """One running server. ``book`` is what readers look at; ``submit`` is how anything changes."""

    ticks: Ticks
    entropy: Entropy
    mint: Mint
    jwks: Jwks
    keys: LicenceKeys
    verified: VerifiesTokens
    store: Store
    terms: Terms
    book: Book
    writer: Writer
    validate: Validate
    decided: Decided
    for_token: ForToken
    claims: Claims
    submit: Submit
    secrets: dict[str, str] = field(default_factory=dict)
    running: asyncio.Task[None] | None = None
    probe: asyncio.Task[None] | None = None
    probed_at: int = -1

    @property
    def alive(self) -> bool:
        """Whether the writer still runs."""
        return self.running is not None and not self.running.done()

    async def ready(self) -> None:
        """Return when the store committed something within the last second, or just now. Raises StoreError."""
        now = self.ticks()
        if not self.writer.suspect and 0 <= now - self.probed_at < 1000:  # noqa: PLR2004 - one second
            return
        if self.probe is None or self.probe.done():
            self.probe = asyncio.get_running_loop().create_task(self._probe())
            self.probe.add_done_callback(_heard)
        try:
            await asyncio.wait_for(asyncio.shield(self.probe), READY_SECONDS)
        except TimeoutError as error:
            raise StoreError(f"no commit within {READY_SECONDS:g} s") from error

    async def _probe(self) -> None:
        await self.writer.submit(Probe(actor=SERVER))
        self.probed_at = self.ticks()


def _heard(probe: asyncio.Task[None]) -> None:
    """A probe that failed after nobody waited for it any more is no news for the log."""
    if not probe.cancelled():
        probe.exception()


async def submit(service: Service, command: Command) -> msgspec.Struct:
    """Queue the command, wait for the commit, return the answer. Raises Refused, Unavailable."""
    return await service.writer.submit(command)


def digest_of(secret: str) -> bytes:
    """What is kept of an API token's secret."""
    return hashlib.sha256(secret.encode()).digest()
