"""``commit/sqlite``: the writer's seam against bare SQLite; and beside it durable issues over HTTP.

The writer takes 32 issues at a time: decides them, chains their events, renders
the answers, commits and publishes. Bare SQLite writes the very rows that came
out of that, 32 issues a commit, into tables of the same shape. Both are durable:
WAL, synchronous=FULL, files side by side.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
from pathlib import Path
from typing import Any, Final

from benchmarks import servers
from benchmarks.bench import Row, Skipped, median_ratio, row, two_cores
from licensing_harness.clock import RealClock

BATCH: Final = 32
BATCHES: Final = 60
ROUNDS: Final = 7
HTTP_SECONDS: Final = 3.0
HTTP_ROUNDS: Final = 3
_TABLES: Final = ("events", "licences", "answers")


def measure() -> list[Row]:
    """The ratio, and the rate over HTTP where wrk is."""
    with servers.folder() as directory:
        rates = asyncio.run(_rates(directory))
    ours, bare = statistics.median(rates["writer"]), statistics.median(rates["bare"])
    rows = [row("commit/sqlite", ours, "/s", bare, median_ratio(rates["writer"], rates["bare"]))]
    try:
        rows.append(row("issue-http", _over_http(), "/s"))
    except Skipped as reason:
        print(f"issue-http: {reason}")
    return rows


async def _rates(directory: Path) -> dict[str, list[float]]:
    """Commands a second of both, in turns. The writer goes first in a round: its rows are what is written bare."""
    app = _server(directory / "writer.db")
    clock = RealClock()
    async with app.router.lifespan_context(app):
        service = app.state.service
        bare = _bare(directory / "writer.db", directory / "bare.db")
        kept: list[Any] = []
        commit = service.writer.commit

        async def keeping(rows: Any) -> None:
            kept.append(rows)
            await commit(rows)

        numbers = iter(range(1_000_000_000))
        rates: dict[str, list[float]] = {"writer": [], "bare": []}
        for number in range(ROUNDS + 1):
            batches = [[_issue(service, next(numbers)) for _ in range(BATCH)] for _ in range(BATCHES)]
            kept.clear()
            service.writer.commit = keeping
            begin = clock.now()
            for batch in batches:
                await service.writer.batch(batch)
            took = clock.now() - begin
            answers = [future.result() for batch in batches for _, future in batch]
            if len({answer.licence.id for answer in answers}) != BATCH * BATCHES:
                raise RuntimeError("the writer did not issue what it was asked to")
            bare_took = _write_bare(bare, kept, clock)
            if number:  # the first round warms both up
                rates["writer"].append(BATCH * BATCHES / took)
                rates["bare"].append(BATCH * BATCHES / bare_took)
        bare.close()
    return rates


def _server(database: Path) -> Any:
    """The reference server's application on a new SQLite file, not serving HTTP."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    from reference_server import clock, composition, entropy
    from reference_server.store.sqlite import SqliteStore

    keys = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return composition.build(
        composition.parts_of(
            clock=clock.real,
            entropy=entropy.real,
            keys=keys,
            store=SqliteStore(database),
            terms=composition.terms_of(60, 300),
        )
    )


def _issue(service: Any, number: int) -> tuple[Any, asyncio.Future[Any]]:
    """A command as the HTTP side makes it, with its idempotency key, and the future of its answer."""
    from reference_server.rules.commands import Idempotency, Issue

    command = Issue(
        actor=next(iter(service.book.api_tokens)),
        idempotency=Idempotency(f"bench-{number}", number.to_bytes(32, "big")),
        licence_id=f"lic_{number:020d}",
        plan="team",
        seats=3,
        features=("base", "sync"),
        duration=None,
        customer=f"customer {number}",
    )
    return command, asyncio.get_running_loop().create_future()


def _bare(model: Path, path: Path) -> sqlite3.Connection:
    """A durable database with the tables and indexes of ``model``, empty."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    with sqlite3.connect(model) as source:
        statements = source.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    source.close()
    for (statement,) in statements:
        connection.execute(statement)
    return connection


def _write_bare(connection: sqlite3.Connection, batches: list[Any], clock: RealClock) -> float:
    """Seconds to write the same rows, a commit for each batch."""
    places = {
        table: ", ".join("?" * len(connection.execute(f"PRAGMA table_info({table})").fetchall())) for table in _TABLES
    }
    inserts = [f"INSERT INTO {table} VALUES ({places[table]})" for table in _TABLES]
    begin = clock.now()
    for rows in batches:
        connection.execute("BEGIN IMMEDIATE")
        for insert, given in zip(inserts, (rows.events, rows.licences, rows.answers), strict=True):
            connection.executemany(insert, given)
        connection.execute("COMMIT")
    return clock.now() - begin


def _over_http() -> float:
    """Issues a second, each acknowledged after its commit, by 32 clients. Raises Skipped without wrk."""
    serve, load = two_cores()
    servers.need_wrk()
    body = '{"plan":"team","seats":3,"features":["base","sync"],"duration":null,"customer":"bench"}'
    with servers.folder() as directory, servers.reference(serve, directory) as started:
        script = directory / "issue.lua"
        script.write_text(servers.ISSUE)

        def issues(name: str) -> float:
            return servers.wrk(started["url"], script, HTTP_SECONDS, load, started["api_token"], name, body).rate

        issues("warm-")
        return statistics.median(issues(f"round-{number}-") for number in range(HTTP_ROUNDS))
