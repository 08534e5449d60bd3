"""``python -m reference_server``: says where it is, keeps what it acknowledged, and names what is in its way."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from server_inside import ISSUE, PostgresqlDatabase

from reference_server.__main__ import main
from reference_server.keys import make_pem
from reference_server.store.sqlite import unusable


@contextmanager
def started(*options: str | Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A server process and its first line; it is killed if the test leaves it running."""
    process = subprocess.Popen(
        [sys.executable, "-m", "reference_server", *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Ask it to stop; its exit code and what else it said."""
    process.terminate()
    rest, errors = process.communicate(timeout=15)
    return process.returncode, rest, errors


def call(url: str, token: str, path: str, body: object, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    """One request over a connection of its own."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)) as connection:
        given = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", **(headers or {})}
        connection.request("POST", path, json.dumps(body), given)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def issue(url: str, token: str, key: str) -> tuple[int, Any]:
    return call(url, token, "/v1/licences", ISSUE, {"Idempotency-Key": key})


def refused(capsys: pytest.CaptureFixture[str], *options: str | Path) -> tuple[int, str]:
    """The exit code and the one line of a server that does not start."""
    code = main([str(each) for each in options])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    return code, err


def test_the_first_line_says_where_it_is_and_a_restart_keeps_all(tmp_path: Path) -> None:
    """URL, pid, and the first API token once; after SIGTERM and a new start the licence and its key are the same."""
    db = tmp_path / "licences.db"
    with started("--db", db) as (process, line):
        assert set(line) == {"url", "pid", "api_token"}
        assert line["pid"] == process.pid
        assert line["url"].startswith("http://127.0.0.1:")
        status, first = issue(line["url"], line["api_token"], "k")
        assert status == 201
        assert ended(process) == (0, "", "")
    with started("--db", db) as (process, again):
        assert set(again) == {"url", "pid"}
        assert issue(again["url"], line["api_token"], "k") == (201, first)
        valid = call(again["url"], "", "/v1/validate", {"key": first["licence"]["key"]})[1]
        assert valid["valid"] is True
        assert ended(process)[0] == 0
    assert stat.S_IMODE(Path(f"{db}.key.pem").stat().st_mode) == 0o600


def test_the_usual_url_of_an_sqlite_file_is_its_path(tmp_path: Path) -> None:
    """``sqlite:///PATH`` opens the same file, and the key beside it."""
    db = tmp_path / "licences.db"
    with started("--db", db) as (process, line):
        _, first = issue(line["url"], line["api_token"], "k")
        assert ended(process)[0] == 0
    with started("--db", f"sqlite:///{db}") as (process, again):
        assert issue(again["url"], line["api_token"], "k") == (201, first)
        assert ended(process)[0] == 0
    assert sorted(path.name for path in tmp_path.glob("*.pem")) == ["licences.db.key.pem"]


def test_it_serves_from_postgresql(postgresql: PostgresqlDatabase, tmp_path: Path) -> None:
    """The same by URL; the signing key needs a place then. Killed hard, it comes back with what it acknowledged."""
    options = ("--db", postgresql.url, "--keys", tmp_path / "key.pem", "--token-file", tmp_path / "token")
    with started(*options) as (process, line):
        status, first = issue(line["url"], line["api_token"], "k")
        assert status == 201
        process.kill()
    token = (tmp_path / "token").read_text().strip()
    assert token == line["api_token"]
    with started(*options) as (process, again):
        assert issue(again["url"], token, "k") == (201, first)
        assert ended(process)[0] == 0


def test_sigterm_drains(tmp_path: Path) -> None:
    """Whoever was answered finds the licence after the restart, and nobody is answered with an error."""
    db = tmp_path / "licences.db"
    answered: list[Any] = []
    failed: list[Any] = []

    def work(url: str, token: str, lane: int) -> None:
        try:
            for number in range(1_000):
                status, body = issue(url, token, f"{lane}-{number}")
                (answered if status == 201 else failed).append(body)
        except (OSError, http.client.HTTPException):
            return  # no longer listening

    with started("--db", db) as (process, line):
        threads = [threading.Thread(target=work, args=(line["url"], line["api_token"], lane)) for lane in range(4)]
        for thread in threads:
            thread.start()
        while len(answered) < 20:
            threads[0].join(0.01)
        code, _, errors = ended(process)
        for thread in threads:
            thread.join()
    assert (code, errors, failed) == (0, "", [])
    with closing(sqlite3.connect(db)) as connection:
        there = {ident for (ident,) in connection.execute("SELECT id FROM licences")}
    assert {each["licence"]["id"] for each in answered} <= there


def test_another_address_must_be_asked_for(tmp_path: Path) -> None:
    """Loopback unless told otherwise; ``--host`` is the telling."""
    with started("--db", tmp_path / "a.db", "--host", "0.0.0.0") as (process, line):
        assert line["url"].startswith("http://0.0.0.0:")
        assert ended(process)[0] == 0


def test_a_token_file_is_let_in(tmp_path: Path) -> None:
    """Made if missing, for its owner only; a second file is let in as well; what is no token is refused."""
    db, one, two = tmp_path / "a.db", tmp_path / "one", tmp_path / "two"
    two.write_text("x" * 40 + "\n")
    with started("--db", db, "--token-file", one) as (process, line):
        assert one.read_text() == line["api_token"] + "\n"
        assert stat.S_IMODE(one.stat().st_mode) == 0o600
        assert ended(process)[0] == 0
    with started("--db", db, "--token-file", two) as (process, line):
        assert "api_token" not in line
        assert issue(line["url"], "x" * 40, "k")[0] == 201
        assert issue(line["url"], one.read_text().strip(), "k")[0] == 201
        assert ended(process)[0] == 0


def test_a_taken_port_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the way out, before anything is made."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, line = refused(capsys, "--db", tmp_path / "a.db", "--port", str(port))

    assert code == 3
    assert f"port {port} (Address already in use): stop what listens there, or use --port 0" in line
    assert list(tmp_path.iterdir()) == []


def test_a_locked_database_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another process holds a lock on it."""
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        code, line = refused(capsys, "--db", tmp_path / "a.db")

    assert code == 4
    assert "a.db can't be used (database is locked): another process holds it; stop that one" in line


def test_a_database_in_use_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another server serves it."""
    with started("--db", tmp_path / "a.db") as (process, _):
        code, line = refused(capsys, "--db", tmp_path / "a.db")
        assert ended(process)[0] == 0

    assert code == 4
    assert "in use by another server; stop that one, or use another --db" in line


@pytest.mark.parametrize("locked_folder", [False, True], ids=["file", "folder"])
def test_a_read_only_database_is_named(capsys: pytest.CaptureFixture[str], *, locked_folder: bool) -> None:
    """The file, or its folder, may not be written by this user."""
    assert callable(unusable)  # loaded before we are "nobody", who may not read where it is loaded from
    folder = Path(tempfile.mkdtemp(prefix="licensing-ro-"))
    try:
        with closing(sqlite3.connect(folder / "a.db")) as connection:
            connection.execute("CREATE TABLE t (x)")
        (folder / "a.db").chmod(0o444)
        (folder / "key").write_bytes(make_pem(bytes))
        (folder / "key").chmod(0o600)
        as_nobody = os.getuid() == 0
        if as_nobody:
            shutil.chown(folder / "key", 65_534)
            os.seteuid(65_534)
        try:
            if not as_nobody or not locked_folder:
                _chmod_as_owner(folder, 0o555 if locked_folder else 0o777, root=as_nobody)
            else:
                _chmod_as_owner(folder, 0o755, root=as_nobody)
            code, line = refused(capsys, "--db", folder / "a.db", "--keys", folder / "key")
        finally:
            if as_nobody:
                os.seteuid(0)
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)

    assert code == 4
    assert "it is read-only for this user; make the file and its folder writable, or use another --db" in line


def _chmod_as_owner(folder: Path, mode: int, *, root: bool) -> None:
    if root:
        os.seteuid(0)
    folder.chmod(mode)
    if root:
        os.seteuid(65_534)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    """A process that may not write more than 40 kB to a file: one line, and no database left half made."""
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)); "
    run = "import sys; from reference_server.__main__ import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-B", "-c", limit + run, "--db", tmp_path / "a.db"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode == 4, done.stderr
    assert done.stdout == ""
    assert "a.db can't be used" in done.stderr
    assert "full" in done.stderr
    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []


def test_what_is_no_database_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Some other file, a folder, a folder that is not there, a scheme nobody knows, a server that is not there."""
    (tmp_path / "text").write_text("this is a letter\n" * 100)
    keys = tmp_path / "key"
    for db, code, expected in (
        (tmp_path / "text", 4, "(file is not a database): it is some other file"),
        (tmp_path, 4, "the path must not be a folder"),
        (tmp_path / "none" / "a.db", 4, "its folder does not exist; make it first"),
        (":memory:", 2, "give a path or postgresql://"),
        ("mysql://me:secret@host/db", 2, "--db 'mysql://' is no database that can be used"),
        ("postgresql://me:secret@127.0.0.1:1/db", 4, "check --db and that PostgreSQL runs"),
    ):
        found, line = refused(capsys, "--db", db, "--keys", keys)
        assert (found, expected in line) == (code, True), line
        assert "secret" not in line
    assert (tmp_path / "text").read_text() == "this is a letter\n" * 100


def test_wrong_options_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each with the way out, and exit code 2."""
    db = tmp_path / "a.db"
    for options, expected in (
        (("--port", "65536"), "give one from 0 to 65535"),
        (("--lease", "soon"), "numbers of seconds"),
        (("--token-lifetime", "0"), "from 1 s to a year"),
        (("--defect", "seat-race"), "there is no defect 'seat-race': there are "),
    ):
        code, line = refused(capsys, "--db", db, *options)
        assert (code, expected in line) == (2, True), line
    code, line = refused(capsys, "--db", "postgresql://me@127.0.0.1/db")
    assert (code, "give --keys FILE" in line) == (2, True), line
    code, line = refused(capsys, "--db", db, "--host", "no.such.host.invalid")
    assert (code, "can't listen on no.such.host.invalid" in line) == (3, True), line


def test_key_and_token_files_are_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another signing key would void every licence key; what others can read, or is no key, is no secret."""
    db, other, words = tmp_path / "a.db", tmp_path / "other.pem", tmp_path / "words"
    with started("--db", db) as (process, _):
        assert ended(process)[0] == 0
    other.write_bytes(make_pem(bytes))
    other.chmod(0o600)
    words.write_text("three short words\n")
    words.chmod(0o600)
    for options, expected in (
        (("--keys", other), "this database belongs to the signing key"),
        (("--keys", words), "words: the signing key can't be read"),
        (("--token-file", words), "this is no API token"),
        (("--token-file", tmp_path / "none" / "token"), "the token file can't be used"),
    ):
        code, line = refused(capsys, "--db", db, *options)
        assert (code, expected in line) == (5, True), line
    other.chmod(0o644)
    code, line = refused(capsys, "--db", db, "--keys", other)
    assert (code, "chmod 600" in line) == (5, True), line


def test_a_defect_is_planted_by_name(tmp_path: Path) -> None:
    """The process serves with the bug in it."""
    with started("--db", tmp_path / "a.db", "--defect", "seats-race") as (process, line):
        assert issue(line["url"], line["api_token"], "k")[0] == 201
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=15)
        assert process.returncode == 0


def test_a_test_clock_is_there_only_when_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Off by default; with it an API token sets the clock, strictly read; and never on an address that others reach."""
    with started("--db", tmp_path / "a.db") as (_, line):
        assert call(line["url"], line["api_token"], "/test-clock", {"offset": 5})[0] == 404
    with started("--db", tmp_path / "b.db", "--test-clock") as (_, line):
        url, token = line["url"], line["api_token"]
        assert call(url, "", "/test-clock", {"offset": 5})[0] == 401
        assert call(url, token, "/test-clock", {"offset": "5"})[0] == 422
        assert call(url, token, "/test-clock", {"offset": 1e12})[0] == 422
        before = call(url, token, "/test-clock", {"offset": 0})[1]
        after = call(url, token, "/test-clock", {"offset": 86_400.5})[1]
        assert after["offset"] == 86_400.5
        assert after["server_time"] - before["server_time"] >= 86_400_500
        _, made = issue(url, token, "k")
        assert made["server_time"] >= after["server_time"]
    code, line = refused(capsys, "--db", tmp_path / "c.db", "--host", "0.0.0.0", "--test-clock")
    assert code == 2
    assert "--test-clock is for this machine only, and 0.0.0.0 is not" in line
