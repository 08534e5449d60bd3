"""The state in memory: what is committed (``Book``), and what a batch would do to it (``Overlay``).

Readers look into the book only, and the book changes only after a commit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping

import msgspec

from reference_server.ledger import Event, Head, Seal, canonical
from reference_server.rules.commands import Command
from reference_server.rules.states import ApiToken, LicenceState, Outcome, Stored
from reference_server.store.rows import Rows, Stock

Live = Callable[[Mapping[str, int], int], dict[str, int]]
"""``live(leases, now)`` returns the leases that are not over."""

_NO_LEASES: Mapping[str, int] = {}
_features = msgspec.json.Decoder(tuple[str, ...]).decode


class Book:
    """All committed state. Make one with the loader; ``take`` moves it on after a commit."""

    __slots__ = ("_active_tokens", "answers", "api_tokens", "by_digest", "head", "issued", "leases", "licences", "time")

    def __init__(self) -> None:
        self.licences: dict[str, LicenceState] = {}
        self.issued: list[LicenceState] = []
        """In the order of issue; the values may be out of date, ids and numbers are not."""
        self.leases: dict[str, dict[str, int]] = {}
        self.answers: dict[tuple[str, str], Stored] = {}
        self.api_tokens: dict[str, ApiToken] = {}
        self.by_digest: dict[bytes, ApiToken] = {}
        self.head = Head()
        self.time = 0
        """The time of the last event, in ms."""
        self._active_tokens = 0

    def licence(self, licence_id: str) -> LicenceState | None:
        """The licence, or None."""
        return self.licences.get(licence_id)

    def active_api_tokens(self) -> int:
        """How many API tokens are not revoked."""
        return self._active_tokens

    def page(self, after: str, limit: int, wanted: Callable[[LicenceState], bool]) -> tuple[list[LicenceState], bool]:
        """Up to ``limit`` licences issued after the licence ``after`` ('' for the first), and whether there are more.

        Raises KeyError when there is no licence ``after``.
        """
        start = bisect_right(self.issued, self.licences[after].number, key=lambda each: each.number) if after else 0
        found: list[LicenceState] = []
        for place in range(start, len(self.issued)):
            licence = self.licences[self.issued[place].id]
            if wanted(licence):
                if len(found) == limit:
                    return found, True
                found.append(licence)
        return found, False

    def put_licence(self, licence: LicenceState) -> None:
        """A new licence, or the new state of one."""
        if licence.id not in self.licences:
            self.issued.append(licence)
        self.licences[licence.id] = licence

    def put_api_token(self, token: ApiToken) -> None:
        """A new API token, or the new state of one."""
        before = self.api_tokens.get(token.id)
        self._active_tokens += (token.revoked_at is None) - (before is not None and before.revoked_at is None)
        self.api_tokens[token.id] = token
        if token.revoked_at is None:
            self.by_digest[token.digest] = token
        else:
            self.by_digest.pop(token.digest, None)

    def take(self, overlay: Overlay) -> None:
        """Publish what was committed."""
        for licence in overlay.licences.values():
            self.put_licence(licence)
        self.leases.update(overlay.leased)
        self.answers.update(overlay.answers)
        for token in overlay.api_tokens.values():
            self.put_api_token(token)
        self.head = overlay.head
        self.time = overlay.now

    def adopt(self, other: Book) -> None:
        """Become ``other``: after a commit whose fate is unknown, what the store says is the truth."""
        for name in self.__slots__:
            setattr(self, name, getattr(other, name))


class Overlay:
    """A batch in the making: reads go to it first and to the book second; dropping it undoes the batch."""

    __slots__ = (
        "_book",
        "_changed",
        "_events",
        "_kept",
        "_live",
        "_seal",
        "answers",
        "api_tokens",
        "head",
        "leased",
        "licences",
        "now",
    )

    def __init__(self, book: Book, now: int, *, live: Live, seal: Seal) -> None:
        self.now = now
        self.head = book.head
        self.licences: dict[str, LicenceState] = {}
        self.leased: dict[str, dict[str, int]] = {}
        self.answers: dict[tuple[str, str], Stored] = {}
        self.api_tokens: dict[str, ApiToken] = {}
        self._book = book
        self._live = live
        self._seal = seal
        self._changed: dict[str, dict[str, None]] = {}
        self._events: list[tuple[int, bytes, bytes, bytes]] = []
        self._kept: list[tuple[str, str, bytes, bytes, int]] = []

    def licence(self, licence_id: str) -> LicenceState | None:
        """The licence, or None."""
        return self.licences.get(licence_id) or self._book.licences.get(licence_id)

    def leases(self, licence_id: str) -> Mapping[str, int]:
        """The leases that are not over."""
        leased = self.leased.get(licence_id)
        if leased is not None:
            return leased
        return self._live(self._book.leases.get(licence_id, _NO_LEASES), self.now)

    def api_token(self, token_id: str) -> ApiToken | None:
        """The API token, revoked or not, or None."""
        return self.api_tokens.get(token_id) or self._book.api_tokens.get(token_id)

    def active_api_tokens(self) -> int:
        """How many API tokens are not revoked."""
        if not self.api_tokens:
            return self._book.active_api_tokens()
        return sum(token.revoked_at is None for token in {**self._book.api_tokens, **self.api_tokens}.values())

    def stored(self, actor: str, key: str) -> Stored | None:
        """The answer kept under an actor's idempotency key."""
        return self.answers.get((actor, key)) or self._book.answers.get((actor, key))

    @property
    def empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not (self._events or self.licences or self._changed or self.api_tokens)

    def record(self, command: Command, outcome: Outcome) -> None:
        """Take in what an accepted command does, and chain its event."""
        head = self.head
        seq = head.seq + 1
        data = outcome.data
        if command.idempotency is not None:
            data = {**data, "idempotency_key": command.idempotency.key}
        body = canonical(Event(outcome.action, command.actor, data, outcome.licence_id, seq, self.now))
        digest = self._seal(head.hash, body)
        self._events.append((seq, body, head.hash, digest))
        self.head = Head(seq, digest)
        self.change(outcome, seq)

    def change(self, outcome: Outcome, seq: int) -> None:
        """Take in the new state that an outcome brings."""
        licence = outcome.licence
        if licence is not None:
            self.licences[licence.id] = licence if licence.number else msgspec.structs.replace(licence, number=seq)
        seat = outcome.seat
        if seat is not None:
            leased = self._touch(outcome.licence_id)
            if seat.until is None:
                leased.pop(seat.device, None)
            else:
                leased[seat.device] = seat.until
            self._changed[outcome.licence_id][seat.device] = None
        if outcome.api_token is not None:
            self.api_tokens[outcome.api_token.id] = outcome.api_token

    def keep(self, command: Command, body: bytes) -> None:
        """Keep an answer under the command's idempotency key, if it has one."""
        if command.idempotency is None:
            return
        key, request = command.idempotency.key, command.idempotency.request
        self.answers[command.actor, key] = Stored(request, body)
        self._kept.append((command.actor, key, request, body, self.now))

    def rows(self) -> Rows:
        """What has to be written, in the order of the tables' columns."""
        leases: list[tuple[str, str, int]] = []
        released: list[tuple[str, str]] = []
        for licence_id, devices in self._changed.items():
            leased = self.leased[licence_id]
            for device in devices:
                until = leased.get(device)
                if until is None:
                    released.append((licence_id, device))
                else:
                    leases.append((licence_id, device, until))
        return Rows(
            events=self._events,
            licences=[licence_row(each) for each in self.licences.values()],
            leases=leases,
            released=released,
            answers=self._kept,
            api_tokens=[(t.id, t.name, t.digest, t.created_at, t.revoked_at) for t in self.api_tokens.values()],
        )

    def _touch(self, licence_id: str) -> dict[str, int]:
        """The batch's own copy of a licence's leases; those that are over leave the table with it."""
        leased = self.leased.get(licence_id)
        if leased is None:
            before = self._book.leases.get(licence_id, _NO_LEASES)
            leased = self.leased[licence_id] = self._live(before, self.now)
            self._changed[licence_id] = (
                {} if len(leased) == len(before) else dict.fromkeys(device for device in before if device not in leased)
            )
        return leased


def licence_row(licence: LicenceState) -> tuple[str, str, int, str, str, str, int, int | None, int]:
    """A licence as the table's columns have it."""
    return (
        licence.id,
        licence.plan,
        licence.seats,
        msgspec.json.encode(licence.features).decode(),
        licence.customer,
        licence.standing,
        licence.issued_at,
        licence.expires_at,
        licence.number,
    )


def load(stock: Stock) -> Book:
    """The book that the stored rows tell."""
    book = Book()
    for ident, plan, seats, features, customer, standing, issued_at, expires_at, number in stock.licences:
        book.put_licence(
            LicenceState(
                id=ident,
                plan=plan,
                seats=seats,
                features=_features(features),
                customer=customer,
                standing=standing,
                issued_at=issued_at,
                expires_at=expires_at,
                number=number,
            )
        )
    for licence_id, device, until in stock.leases:
        book.leases.setdefault(licence_id, {})[device] = until
    for actor, key, request, body, _ in stock.answers:
        book.answers[actor, key] = Stored(request, body)
    for ident, name, digest, created_at, revoked_at in stock.api_tokens:
        book.put_api_token(ApiToken(id=ident, name=name, digest=digest, created_at=created_at, revoked_at=revoked_at))
    for seq, body, _, digest in stock.head:
        book.head = Head(seq, digest)
        book.time = msgspec.json.decode(body, type=Event).time
    return book
