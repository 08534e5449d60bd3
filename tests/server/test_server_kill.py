"""kill -9 under load, fifty times: nothing that was acknowledged is lost, and the chain verifies."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from server_chain import verify
from server_inside import ISSUE

KILLS = 50
LANES = 4
TOKEN = "t" * 43

# One interpreter with everything imported; each line on its input is a server process of its own.
NURSERY = """
import os, sys
import alembic.command, sqlalchemy.dialects.sqlite, uvicorn.protocols.http.auto, uvicorn.lifespan.on
from reference_server.__main__ import main
exec(sys.argv[1])
for line in sys.stdin:
    out, *options = line.split("\\t")
    pid = os.fork()
    if not pid:
        os.dup2(os.open(out, os.O_WRONLY), 1)
        os._exit(main(options[:-1]))
    print(pid, flush=True)
    os.waitpid(pid, 0)
    print("gone", flush=True)
"""

# A bug: the answer leaves while the commit is still to come.
EARLY = """
import asyncio, dataclasses
from reference_server import composition
async def early(store, write, rows):
    loop = asyncio.get_running_loop()
    loop.call_later(0.05, lambda: loop.create_task(store.commit(write, rows)))
composition.planted = lambda parts, _: dataclasses.replace(parts, commit=early)
"""


@dataclass
class Lane:
    """One client. What it was told is what the server must keep."""

    number: int
    issued: dict[str, dict[str, Any]] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    seated: set[str] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)
    """Idempotency keys whose answer never came."""
    wrong: list[Any] = field(default_factory=list)

    def work(self, url: str, kill: threading.Event) -> None:
        """Issue, take a seat and revoke, in turn, until the server is gone."""
        address = urlsplit(url).netloc
        with closing(http.client.HTTPConnection(address, timeout=10)) as connection:
            try:
                connection.connect()
                while not kill.is_set():
                    self._round(connection)
            except (OSError, http.client.HTTPException):
                return

    def _round(self, connection: http.client.HTTPConnection) -> None:
        again = self.unknown[0] if self.unknown else None
        key = again or f"lane-{self.number}-{len(self.issued)}"
        if again is None:
            self.unknown.append(key)
        licence = _call(connection, 201, "/v1/licences", ISSUE, key)["licence"]
        self.unknown.remove(key)
        if licence["id"] in {each["id"] for each in self.issued.values()}:
            self.wrong.append(key)
        self.issued[key] = licence
        _call(connection, 200, "/v1/seats/activate", {"key": licence["key"], "device": "laptop"})
        self.seated.add(licence["id"])
        if len(self.issued) % 2:
            _call(connection, 200, f"/v1/licences/{licence['id']}/revoke", {"reason": "test"})
            self.revoked.add(licence["id"])


def _call(connection: http.client.HTTPConnection, wanted: int, path: str, body: object, key: str = "") -> Any:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    if key:
        headers["Idempotency-Key"] = key
    connection.request("POST", path, json.dumps(body), headers)
    response = connection.getresponse()
    text = response.read()
    assert response.status == wanted, text
    return json.loads(text)


@contextmanager
def nursery(patch: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", NURSERY, patch], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def killed_often(folder: Path, kills: int, patch: str = "") -> list[Lane]:
    """Start a server on ``a.db``, work, kill it in mid-work, and again; what the clients were told."""
    (folder / "token").write_text(TOKEN)
    options = ("--db", folder / "a.db", "--token-file", folder / "token", "--lease", "3600")
    fifo = folder / "first-line"
    os.mkfifo(fifo)
    lanes = [Lane(number) for number in range(LANES)]
    with nursery(patch) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        for number in range(kills):
            parent.stdin.write("\t".join(map(str, (fifo, *options, "\n"))))
            pid = int(parent.stdout.readline())
            with fifo.open() as first:
                url = json.loads(first.readline())["url"]
                enough = sum(len(each.issued) for each in lanes) + 1 + number * 5 % 12
                kill = threading.Event()
                threads = [threading.Thread(target=each.work, args=(url, kill)) for each in lanes]
                for thread in threads:
                    thread.start()
                while sum(len(each.issued) for each in lanes) < enough and any(each.is_alive() for each in threads):
                    threads[0].join(0.001)
                os.kill(pid, signal.SIGKILL)
                kill.set()
                for thread in threads:
                    thread.join()
            assert parent.stdout.readline() == "gone\n"
    return lanes


def judge(folder: Path, lanes: list[Lane]) -> None:
    """What the clients were told is in the database, once, and the chain verifies."""
    issued = {licence["id"] for lane in lanes for licence in lane.issued.values()}
    with closing(sqlite3.connect(folder / "a.db")) as connection:
        entries = [
            {"event": json.loads(body), "previous": previous.hex(), "hash": digest.hex()}
            for body, previous, digest in connection.execute("SELECT body, previous, hash FROM events ORDER BY seq")
        ]
        standing = dict(connection.execute("SELECT id, standing FROM licences"))
        leased = {ident for (ident,) in connection.execute("SELECT licence_id FROM leases")}
    verify(entries)
    events = [each["event"] for each in entries]
    done = Counter((each["action"], each["licence"]) for each in events)
    keys = Counter(each["data"].get("idempotency_key") for each in events if each["action"] == "issue")

    assert issued <= set(standing)
    assert all(done["issue", ident] == 1 for ident in issued)
    assert set(keys.values()) == {1}, "a retried key made one licence"
    for lane in lanes:
        assert not lane.wrong
        assert {standing[ident] for ident in lane.revoked} <= {"revoked"}
        assert all(done["revoke", ident] == 1 for ident in lane.revoked)
        assert lane.seated <= leased


def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path) -> None:
    """Fifty servers on one file, each killed in mid-work; then licences, seats, revocations and the chain are there."""
    lanes = killed_often(tmp_path, KILLS)

    assert sum(len(lane.issued) for lane in lanes) >= KILLS
    assert all(lane.revoked and lane.seated for lane in lanes)
    judge(tmp_path, lanes)


def test_an_answer_before_the_commit_is_found(tmp_path: Path) -> None:
    """The same with a server that answers too early: the judge sees what was lost."""
    lanes = killed_often(tmp_path, 3, EARLY)

    with pytest.raises(AssertionError):
        judge(tmp_path, lanes)
