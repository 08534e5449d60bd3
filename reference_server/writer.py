"""The one writer: decides commands in order, commits them by the batch, answers after the commit.

Whatever came while the last batch was being committed is the next batch. All of
it is decided at one reading of the clock, against the book and what earlier
commands of the batch did; the only thing it waits for is the commit.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import ClassVar, Final

import msgspec

from reference_server.errors import Conflict, Draining, NotAuthorised, Overloaded, Refused, StoreError
from reference_server.ledger import Seal
from reference_server.projection import Book, Live, Overlay
from reference_server.rules.commands import Command, Probe
from reference_server.rules.states import Decide, Outcome, Stored, Terms, View
from reference_server.store.rows import Rows

SERVER: Final = "server"
"""The actor of what the server does by itself."""

MOST_WAITING: Final = 4096
"""Commands that may wait; more are turned away at once."""

Commit = Callable[[Rows], Awaitable[None]]
Render = Callable[[Outcome, int], msgspec.Struct]
"""``render(outcome, now)`` makes the public answer."""

Recall = Callable[[View, Command], Stored | None]
"""The answer that was given to this very request before. Raises Conflict when the key was used for another."""

_LOG: Final = logging.getLogger(__name__)
_encode: Final = msgspec.json.Encoder().encode


class Recalled(msgspec.Struct, frozen=True):
    """An answer that was given before, as it was encoded then."""

    body: bytes


Answer = msgspec.Struct
_Settled = tuple["asyncio.Future[Answer]", Answer | Exception]


def recall(view: View, command: Command) -> Stored | None:
    """Look under the actor's idempotency key. Raises Conflict when another request came with it."""
    if command.idempotency is None:
        return None
    stored = view.stored(command.actor, command.idempotency.key)
    if stored is not None and stored.request != command.idempotency.request:
        raise Conflict("idempotency-conflict")
    return stored


class Writer:
    """See the module. ``commit`` is the seam: a thread in a process, the simulated disk in a simulation."""

    overlay: ClassVar[type[Overlay]] = Overlay
    """What a batch is decided in."""

    def __init__(
        self,
        *,
        book: Book,
        clock: Callable[[], int],
        commit: Commit,
        reload: Callable[[], Awaitable[Book]],
        decide: Mapping[type[Command], Decide],
        recall: Recall,
        render: Render,
        live: Live,
        seal: Seal,
        terms: Terms,
    ) -> None:
        self.book = book
        self.clock = clock
        self.commit = commit
        self.reload = reload
        self.decide = decide
        self.recall = recall
        self.render = render
        self.live = live
        self.seal = seal
        self.terms = terms
        self.waiting: list[tuple[Command, asyncio.Future[Answer]]] = []
        self.wake = asyncio.Event()
        self.draining = False
        self.idle = asyncio.Event()
        self.idle.set()
        self.suspect = False
        """The last commit failed: whether it took effect must be read from the store before the next decision."""

    def submit(self, command: Command) -> asyncio.Future[Answer]:
        """Queue a command. The future gives the answer after the commit, or Refused, or Unavailable."""
        if self.draining:
            raise Draining("the server is stopping")
        if len(self.waiting) >= MOST_WAITING:
            raise Overloaded(f"{MOST_WAITING} changes are waiting already")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.waiting.append((command, future))
        self.idle.clear()
        self.wake.set()
        return future

    async def run(self) -> None:
        """Decide and commit until cancelled."""
        while True:
            await self.wake.wait()
            self.wake.clear()
            while self.waiting:
                batch, self.waiting = self.waiting, []
                await self.batch(batch)
            self.idle.set()

    async def drain(self) -> None:
        """Take no more commands, and return when those that were taken are answered."""
        self.draining = True
        await self.idle.wait()

    async def batch(self, batch: list[tuple[Command, asyncio.Future[Answer]]]) -> None:
        """Decide, commit, publish, answer."""
        try:
            if self.suspect:
                self.book.adopt(await self.reload())
                self.suspect = False
            overlay, settled, rows = self.decide_all(batch)
            if rows is not None:
                await self.commit(rows)
        except Exception as error:  # noqa: BLE001 - whatever it was, the writer lives on, and nobody is told yes
            _LOG.warning("commit failed, %d changes not acknowledged: %s", len(batch), error)
            self.suspect = True
            self.settle([(future, StoreError(str(error))) for _, future in batch])
            return
        if rows is not None:
            self.book.take(overlay)
        self.settle(settled)

    def decide_all(
        self, batch: list[tuple[Command, asyncio.Future[Answer]]]
    ) -> tuple[Overlay, list[_Settled], Rows | None]:
        """Decide every command at one reading of the clock. No rows means nothing to commit."""
        now = self.clock()
        overlay = self.overlay(self.book, now, live=self.live, seal=self.seal)
        settled: list[_Settled] = []
        probed = False
        for command, future in batch:
            if type(command) is Probe:
                probed = True
                settled.append((future, command))
                continue
            try:
                settled.append((future, self.one(overlay, command, now)))
            except Refused as refusal:
                # Without its traceback, whose frames hold this very list: each refusal would be a cycle to collect.
                settled.append((future, refusal.with_traceback(None)))
            except Exception as error:  # noqa: BLE001 - a bug in one decision must not take the others down
                _LOG.exception("undecidable: %s", type(command).__name__)
                settled.append((future, error))
        if probed:
            return overlay, settled, overlay.rows()._replace(settings=[("probed", str(now))])
        return overlay, settled, None if overlay.empty else overlay.rows()

    def one(self, overlay: Overlay, command: Command, now: int) -> Answer:
        """Decide one command against the batch so far. Raises Refused."""
        if command.actor != SERVER:
            token = overlay.api_token(command.actor)
            if token is None or token.revoked_at is not None:
                raise NotAuthorised("not-authorised")
        stored = self.recall(overlay, command)
        if stored is not None:
            return Recalled(stored.body)
        outcome = self.decide[type(command)](overlay, command, now, self.terms)
        answer = self.render(outcome, now)
        overlay.record(command, outcome)
        if command.idempotency is not None:
            overlay.keep(command, _encode(answer))
        return answer

    def settle(self, settled: list[_Settled]) -> None:
        """Give the answers to those who still wait for them."""
        for future, answer in settled:
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
