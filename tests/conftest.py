"""What tests of several folders use: a PostgreSQL of our own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_PORTS = range(20_000, 32_000, 7)


def _programs() -> Path | None:
    """The folder of PostgreSQL's own programs."""
    found = shutil.which("initdb")
    if found is not None and (Path(found).resolve().parent / "pg_ctl").exists():
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: float(each.parent.name))
    return next((each for each in reversed(folders) if (each / "pg_ctl").exists()), None)


def _free_port() -> int:
    # Several processes look at once: each begins elsewhere.
    first = os.getpid() % len(_PORTS)
    for port in (*_PORTS[first:], *_PORTS[:first]):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    pytest.fail("no free port below 32768")


def _user() -> str | None:
    """PostgreSQL refuses to run as root: who it runs as then."""
    if os.getuid() != 0:
        return None
    names = {each.pw_name for each in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a PostgreSQL of our own, without the database's name."""
    programs = _programs()
    if programs is None:
        reason = "PostgreSQL is not installed (no initdb in PATH or /usr/lib/postgresql)"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}: .ci/setup should have installed it")
        pytest.skip(reason)
    user, port = _user(), _free_port()
    home = Path(tempfile.mkdtemp(prefix="licensing-pg-"))
    data = home / "data"

    def call(*command: str | Path) -> None:
        # To a file: a pipe would stay open as long as the server that pg_ctl starts.
        with (home / "log.txt").open("a") as log:
            done = subprocess.run(command, cwd=home, user=user, stdout=log, stderr=log, check=False, timeout=60)
        assert done.returncode == 0, (home / "log.txt").read_text()

    try:
        if user is not None:
            shutil.chown(home, user)
        call(programs / "initdb", "-D", data, "-A", "trust", "-U", "licensing", "-E", "UTF8", "--locale=C", "-N")
        settings = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c max_connections=40"
        call(programs / "pg_ctl", "-D", data, "-w", "-t", "50", "-o", settings, "start")
        try:
            yield f"postgresql://licensing@127.0.0.1:{port}"
        finally:
            call(programs / "pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home)
