"""The writer: one reading of the clock a batch, nothing seen before it is committed, nothing half done."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from server_inside import PEM, Disk, Hand, counted, run

from reference_server import composition
from reference_server.errors import Conflict, Draining, Overloaded, StoreError
from reference_server.http.shapes import LicenceAnswer, SeatAnswer
from reference_server.projection import Book, load
from reference_server.rules.commands import Activate, Command, Idempotency, Issue, Release, Revoke
from reference_server.rules.dispatch import DECISIONS
from reference_server.rules.states import Terms
from reference_server.service import Service
from reference_server.store.adapter import GivenStore
from reference_server.writer import MOST_WAITING, SERVER, Recalled

TERMS = Terms(lease=2_000, token_lifetime=3)


@asynccontextmanager
async def serving(disk: Disk, clock: Hand, **parts: Any) -> AsyncIterator[Service]:
    """A service without HTTP."""
    sound = composition.parts_of(clock=clock, entropy=counted(), keys=PEM, store=GivenStore(disk), terms=TERMS)
    app = composition.build(dataclasses.replace(sound, **parts) if parts else sound)
    async with app.router.lifespan_context(app):
        yield app.service


def issue(number: int = 1, *, seats: int = 1, idempotency: Idempotency | None = None) -> Issue:
    """A command that makes the licence ``lic_<number>``."""
    return Issue(
        actor=SERVER,
        idempotency=idempotency,
        licence_id=f"lic_{number}",
        plan="standard",
        seats=seats,
        features=(),
        duration=None,
        customer="",
    )


def activate(device: str, number: int = 1) -> Activate:
    return Activate(actor=SERVER, licence_id=f"lic_{number}", device=device)


async def all_of(service: Service, *commands: Command) -> list[Any]:
    """Submit at once, and gather answers and errors."""
    return await asyncio.gather(*(service.submit(service, each) for each in commands), return_exceptions=True)


def test_commands_that_wait_are_one_batch(disk: Disk, clock: Hand) -> None:
    """A hundred commands, one commit, one reading of the clock, a hundred events in the order they came."""

    async def body() -> None:
        async with serving(disk, clock) as service:
            commits, reads = disk.commits, clock.reads
            answers = await all_of(service, *(issue(each) for each in range(100)))
            assert (disk.commits - commits, clock.reads - reads) == (1, 1)
            assert [each.licence.id for each in answers] == [f"lic_{each}" for each in range(100)]
            assert len({each.server_time for each in answers}) == 1
            assert service.book.head.seq == 101

    run(body())


def test_a_batch_decides_against_its_own_earlier_commands(disk: Disk, clock: Hand) -> None:
    """One seat, taken, refused, given back and taken again, all in one commit."""

    async def body() -> None:
        async with serving(disk, clock) as service:
            commits = disk.commits
            back = Release(actor=SERVER, licence_id="lic_1", device="a")
            answers = await all_of(service, issue(), activate("a"), activate("b"), back, activate("b"))
            assert disk.commits - commits == 1
            assert isinstance(answers[2], Conflict)
            assert [each.seats_taken for each in answers if isinstance(each, SeatAnswer)] == [1, 0, 1]
            assert set(service.book.leases["lic_1"]) == {"b"}
            assert disk.connection.execute("SELECT device FROM leases").fetchall() == [("b",)]

    run(body())


def test_readers_see_nothing_before_the_commit(disk: Disk, clock: Hand) -> None:
    """While the disk works, the licence is not there; nor is it answered."""

    async def body() -> None:
        async with serving(disk, clock) as service:
            disk.gate = asyncio.Event()
            future = asyncio.ensure_future(service.submit(service, issue()))
            await asyncio.sleep(0.01)
            assert service.book.licence("lic_1") is None
            assert not future.done()
            disk.gate.set()
            assert isinstance(await future, LicenceAnswer)
            assert service.book.licence("lic_1") is not None

    run(body())


def test_what_came_during_a_commit_is_the_next_batch(disk: Disk, clock: Hand) -> None:
    """Group commit: two commits for eleven commands."""

    async def body() -> None:
        async with serving(disk, clock) as service:
            commits = disk.commits
            disk.gate = asyncio.Event()
            futures = [asyncio.ensure_future(service.submit(service, issue(0)))]
            await asyncio.sleep(0)
            futures += [asyncio.ensure_future(service.submit(service, issue(each))) for each in range(1, 11)]
            await asyncio.sleep(0.01)
            disk.gate.set()
            await asyncio.gather(*futures)
            assert disk.commits - commits == 2

    run(body())


@pytest.mark.parametrize("applied", [False, True], ids=["lost", "applied"])
def test_after_a_failed_commit_the_store_says_what_is_true(disk: Disk, clock: Hand, *, applied: bool) -> None:
    """Nobody is told yes; the next batch is decided on what the store has, whichever way it went; the chain goes on."""

    async def body() -> None:
        async with serving(disk, clock) as service:
            disk.failing, disk.applied = OSError("no space left on device"), applied
            answers = await all_of(service, issue(1), issue(2))
            assert all(isinstance(each, StoreError) for each in answers)
            assert service.book.licence("lic_1") is None, "not before the store was asked"
            disk.failing = None
            (answer,) = await all_of(service, issue(3))
            assert isinstance(answer, LicenceAnswer)
            assert set(service.book.licences) == ({"lic_1", "lic_2", "lic_3"} if applied else {"lic_3"})
            numbers = [seq for (seq,) in disk.connection.execute("SELECT seq FROM events ORDER BY seq")]
            assert numbers == list(range(1, 5 if applied else 3))

    run(body())


def test_a_bug_in_one_decision_hurts_one_command(disk: Disk, clock: Hand, caplog: pytest.LogCaptureFixture) -> None:
    """Its caller gets the error, the others of the batch their answers."""

    async def body() -> None:
        sound = DECISIONS[Issue]

        def broken(view: Any, command: Issue, now: int, terms: Terms) -> Any:
            if command.licence_id == "lic_2":
                raise ZeroDivisionError
            return sound(view, command, now, terms)

        async with serving(disk, clock, decide={**DECISIONS, Issue: broken}) as service:
            answers = await all_of(service, issue(1), issue(2), issue(3))
            assert [type(each) for each in answers] == [LicenceAnswer, ZeroDivisionError, LicenceAnswer]

    run(body())
    assert "undecidable: Issue" in caplog.text


def test_refusals_alone_commit_nothing(disk: Disk, clock: Hand) -> None:
    """There is nothing to make durable."""

    async def body() -> None:
        async with serving(disk, clock) as service:
            commits = disk.commits
            await all_of(service, activate("a"), activate("b"))
            assert disk.commits == commits

    run(body())


def test_the_same_request_twice_in_a_batch_is_done_once(disk: Disk, clock: Hand) -> None:
    """The second gets the first one's answer, another request under the key a conflict."""

    async def body() -> None:
        async with serving(disk, clock) as service:
            key = Idempotency("k", b"request")
            first, second, third = await all_of(
                service,
                issue(1, idempotency=key),
                issue(2, idempotency=key),
                issue(3, idempotency=Idempotency("k", b"other")),
            )
            assert isinstance(second, Recalled)
            assert msgspec.json.decode(second.body, type=LicenceAnswer) == first
            assert isinstance(third, Conflict)
            assert list(service.book.licences) == ["lic_1"]

    run(body())


def test_a_revoked_api_token_does_not_get_through_the_queue(disk: Disk, clock: Hand) -> None:
    """It was in force when the request was read, and revoked by the time it is decided."""

    async def body() -> None:
        async with serving(disk, clock) as service:
            answers = await all_of(service, msgspec.structs.replace(issue(), actor="tok_gone"))
            assert answers[0].code == "not-authorised"

    run(body())


def test_leases_that_are_over_leave_the_table(disk: Disk, clock: Hand) -> None:
    """When somebody takes a seat, the rows of those that ran out go with the same commit."""

    async def body() -> None:
        async with serving(disk, clock) as service:
            await all_of(service, issue(seats=3), activate("a"), activate("b"))
            clock.now += 2
            await all_of(service, activate("b"), activate("c"))
            assert disk.connection.execute("SELECT device FROM leases ORDER BY 1").fetchall() == [("b",), ("c",)]

    run(body())


def test_stopping_answers_what_was_taken_and_takes_no_more(disk: Disk, clock: Hand) -> None:
    """Drained: the commands in the queue are committed, a new one is refused."""

    async def body() -> None:
        async with serving(disk, clock) as service:
            futures = [service.writer.submit(issue(each)) for each in range(3)]
            await service.writer.drain()
            assert all(isinstance(each.result(), LicenceAnswer) for each in futures)
            with pytest.raises(Draining):
                service.writer.submit(issue(9))

    run(body())


def test_a_full_queue_turns_away(disk: Disk, clock: Hand) -> None:
    """At once, and nothing of it was done."""

    async def body() -> None:
        async with serving(disk, clock) as service:
            disk.gate = asyncio.Event()
            service.writer.submit(issue(0))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            futures = [service.writer.submit(activate("a")) for _ in range(MOST_WAITING)]
            with pytest.raises(Overloaded):
                service.writer.submit(issue(1))
            disk.gate.set()
            await asyncio.gather(*futures, return_exceptions=True)

    run(body())


def test_a_caller_who_left_is_no_trouble(disk: Disk, clock: Hand) -> None:
    """Their future is done; the others are answered, and the change is there."""

    async def body() -> None:
        async with serving(disk, clock) as service:
            left, stayed = service.writer.submit(issue(1)), service.writer.submit(issue(2))
            left.cancel()
            await stayed
            assert set(service.book.licences) == {"lic_1", "lic_2"}

    run(body())


def test_what_is_loaded_equals_what_was_in_memory(disk: Disk, clock: Hand) -> None:
    """After a mixture of changes the loader makes the same book from the rows."""

    async def body() -> None:
        async with serving(disk, clock) as service:
            await all_of(
                service,
                issue(1, seats=2, idempotency=Idempotency("k", b"r")),
                issue(2),
                activate("a"),
                activate("b"),
                activate("a", 2),
                Release(actor=SERVER, licence_id="lic_1", device="a"),
                Revoke(actor=SERVER, licence_id="lic_2", reason="fraud"),
            )
            loaded = load(await service.store.read(service.store.statements.load))
            for name in Book.__slots__:
                mine, theirs = getattr(service.book, name), getattr(loaded, name)
                if name == "issued":  # ids and numbers count; the values may be older
                    mine, theirs = ([(each.id, each.number) for each in some] for some in (mine, theirs))
                assert mine == theirs, name

    run(body())
