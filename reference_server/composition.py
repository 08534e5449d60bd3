"""The composition root: where the server is put together, and where a defect may replace one piece.

Nothing below knows whether it runs in a process or in a simulation: clock,
entropy, keys and store are arguments, and that is all the difference there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

from starlette.routing import Route

from reference_server import access, ledger, projection, service, writer
from reference_server.clock import Clock, Ticks
from reference_server.entropy import Entropy, identifier, secret
from reference_server.errors import StartError
from reference_server.http import shapes, validation
from reference_server.http.app import LicensingApp
from reference_server.keys import KeyRing, VerifiedTokens, Verifier
from reference_server.licence_keys import LABEL, LicenceKeys
from reference_server.rules import decision, seats
from reference_server.rules.commands import Command, CreateApiToken
from reference_server.rules.dispatch import DECISIONS
from reference_server.rules.states import Decide, Terms
from reference_server.service import (
    Claims,
    Decided,
    ForToken,
    Jwks,
    Mint,
    Service,
    Submit,
    Validate,
    VerifiesTokens,
    digest_of,
)
from reference_server.store.adapter import GivenDisk, GivenStore, Store, Write
from reference_server.store.rows import Rows, Stock
from reference_server.writer import SERVER, Recall, Render, Writer

Commit = Callable[[Store, Write, Rows], Awaitable[None]]


async def commit(store: Store, write: Write, rows: Rows) -> None:
    """Write the rows; they are durable when this returns."""
    await store.commit(write, rows)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """Every piece that the server is made of. A defect is a ``Parts`` with one piece replaced."""

    clock: Clock
    """Unix seconds."""
    entropy: Entropy
    store: Store
    terms: Terms
    mint: Mint
    jwks: Jwks
    keys: LicenceKeys
    verifier: Verifier
    """Judges a token by itself."""
    remembered: Callable[[Verifier], VerifiesTokens] = VerifiedTokens
    """Remembers the tokens that the verifier accepted."""
    validate: Validate = decision.decide
    """The rule: is the licence in force?"""
    decided: Decided = validation.decided
    """From the request to the rule and back, at one reading of the clock. It may wait."""
    for_token: ForToken = seats.usable
    """Which licence may have a token."""
    claims: Claims = access.claims_for
    decide: Mapping[type[Command], Decide] = field(default_factory=lambda: DECISIONS)
    """The rules, one function a command."""
    live: projection.Live = seats.live
    """Which leases are not over."""
    recall: Recall = writer.recall
    """The answer already given under an idempotency key."""
    render: Render = shapes.render
    """The public answer to an accepted command."""
    seal: ledger.Seal = ledger.seal
    """The hash that chains an event to the one before it."""
    load: Callable[[Stock], projection.Book] = projection.load
    """The state in memory, from what is stored."""
    write: Write
    """Runs the statements of one batch."""
    commit: Commit = commit
    """Makes a batch durable."""
    writer: type[Writer] = Writer
    submit: Submit = service.submit
    """The way of a command to the writer."""


def parts_of(*, clock: Clock, entropy: Entropy, keys: bytes, store: Store, terms: Terms) -> Parts:
    """The pieces of a sound server. ``keys`` is a PEM PKCS#8 Ed25519 private key. Raises KeyRefused."""
    ring, licence_keys = _keys(keys)
    return Parts(
        clock=clock,
        entropy=entropy,
        store=store,
        terms=terms,
        mint=ring.mint,
        jwks=ring.jwks,
        keys=licence_keys,
        verifier=_verifier(ring, terms.token_lifetime),
        write=store.statements.write,
    )


@lru_cache(maxsize=4)
def _keys(pem: bytes) -> tuple[KeyRing, LicenceKeys]:
    ring = KeyRing.from_pem(pem)
    return ring, LicenceKeys(ring.derive(LABEL))


@lru_cache(maxsize=4)
def _verifier(ring: KeyRing, lifetime: int) -> Verifier:
    """It keeps no state, and the same one serves after every start."""
    return Verifier(ring, issuer=access.ISSUER, audience=access.AUDIENCE, lifetime=lifetime)


def build(
    parts: Parts,
    *,
    token: str | None = None,
    prepare: Callable[[Service], Awaitable[None]] | None = None,
    more: Sequence[Route] = (),
) -> LicensingApp:
    """The application.

    ``token`` is the secret of the first API token, if there is none yet; else one
    is drawn. ``prepare`` runs at the end of start-up, with the service that is
    about to serve. ``more`` are routes beside its own.
    """

    async def start() -> Service:
        await parts.store.open()
        try:
            made = await _assembled(parts)
            made.running = asyncio.get_running_loop().create_task(made.writer.run())
            await _first_api_token(made, token)
            if prepare is not None:
                await prepare(made)
        except Exception:
            await parts.store.close()
            raise
        return made

    return LicensingApp(start, stop, more)


async def stop(running: Service) -> None:
    """Answer what was taken, then let go of everything."""
    await running.writer.drain()
    if running.running is not None:
        running.running.cancel()
    await running.store.close()


async def _assembled(parts: Parts) -> Service:
    store = parts.store

    async def load() -> projection.Book:
        return parts.load(await store.read(store.statements.load))

    book = await load()
    ticks = Ticks(parts.clock, book.time)
    return Service(
        ticks=ticks,
        entropy=parts.entropy,
        mint=parts.mint,
        jwks=parts.jwks,
        keys=parts.keys,
        verified=parts.remembered(parts.verifier),
        store=store,
        terms=parts.terms,
        book=book,
        validate=parts.validate,
        decided=parts.decided,
        for_token=parts.for_token,
        claims=parts.claims,
        submit=parts.submit,
        writer=parts.writer(
            book=book,
            clock=ticks,
            commit=partial(parts.commit, store, parts.write),
            reload=load,
            decide=parts.decide,
            recall=parts.recall,
            render=parts.render,
            live=parts.live,
            seal=parts.seal,
            terms=parts.terms,
        ),
    )


async def _first_api_token(made: Service, token: str | None) -> None:
    """Without any API token nobody could change anything: make the first one, and tell its secret once."""
    if made.book.api_tokens:
        return
    made.secrets["api_token"] = await register(made, "first", token or secret(made.entropy, "lat"))


async def register(made: Service, name: str, token: str) -> str:
    """Let the bearer of ``token`` change things; returns it."""
    await made.submit(
        made,
        CreateApiToken(actor=SERVER, token_id=identifier(made.entropy, "tok"), name=name, digest=digest_of(token)),
    )
    return token


def simulated(clock: Clock, entropy: Entropy, keys: bytes, store: GivenDisk, **options: str) -> LicensingApp:
    """A server in a simulation: ``store`` is the simulation's disk; no thread and no socket is made.

    Options, as text: ``lease`` and ``token_lifetime`` in seconds, ``defect`` a
    name. Raises StartError for anything else.
    """
    terms = terms_of(options.pop("lease", "60"), options.pop("token_lifetime", "300"))
    defect = options.pop("defect", "")
    if options:
        message = f"unknown option {', '.join(sorted(options))}: there are lease, token_lifetime and defect"
        raise StartError(message)
    parts = parts_of(clock=clock, entropy=entropy, keys=keys, store=GivenStore(store), terms=terms)
    return build(planted(parts, defect))


def terms_of(lease: str | float, token_lifetime: str | float) -> Terms:
    """The terms, from seconds. Raises StartError when they make no sense."""
    shortest = 1e-3
    try:
        lease_ms, lifetime = round(float(lease) * 1000), int(float(token_lifetime))
    except (ValueError, OverflowError) as error:
        message = f"lease and token lifetime are numbers of seconds, not {lease!r} and {token_lifetime!r}"
        raise StartError(message) from error
    longest = 366 * 86_400
    if not (shortest <= lease_ms / 1000 <= longest and 1 <= lifetime <= longest):
        message = "the lease must be from 0.001 s to a year, and the token lifetime from 1 s to a year"
        raise StartError(message)
    return Terms(lease=lease_ms, token_lifetime=lifetime)


def planted(parts: Parts, defect: str) -> Parts:
    """The parts with the named defect in them; '' for none. Raises StartError for an unknown name."""
    if not defect:
        return parts
    from reference_server.defects import find

    return find(defect).plant(parts)
