"""Judges license-manager-backend 3.0.12 on a fresh PostgreSQL, then replays what was found on another fresh one.

Exits as the gate did: 1 when the backend over-books. Everything it starts listens on loopback, lives in a temporary
directory, and is gone when it ends; where something stays behind it exits 14.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx2

from licensing_harness.clock import RealClock
from licensing_harness.errors import CleanUpIncomplete, HarnessError, TargetNotReady

ROOT: Final = Path(__file__).resolve().parents[2]
FOREIGN: Final = ROOT / ".foreign" / "license-manager" / "bin" / "python"
ADAPTER: Final = "examples.license_manager.adapter:LicenseManager"
RUNS: Final = ROOT / ".licensing" / "runs"
DEBIAN: Final = Path("/usr/lib/postgresql")
CLOCK: Final = RealClock()


def main() -> int:
    """The gate's exit code, or the harness's own when the target could not be run."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        binaries = postgresql()
        if "--ready" in sys.argv[1:]:
            return 0
        if not FOREIGN.exists():
            message = f"{FOREIGN.relative_to(ROOT)} is missing: run `make foreign`, which installs the backend"
            raise TargetNotReady(message)
        with backend(binaries) as url:
            code = harness("gate", "--target", url, "--adapter", ADAPTER)
        case = clearest(RUNS / "latest") if code == 1 else None
        if case is not None:
            with backend(binaries) as url:
                harness("replay", case, "--target", url, "--adapter", ADAPTER)
    except HarnessError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return code


def harness(*arguments: str) -> int:
    """Run ``licensing-harness``; its exit code."""
    print(f"$ licensing-harness {' '.join(arguments)}", flush=True)
    command = [sys.executable, "-m", "licensing_harness", *arguments]
    code = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode
    print(f"exit {code}\n", flush=True)
    return code


def clearest(run: Path) -> str | None:
    """The case to show again: of a finding that has its sequential control, in the scenario with fewest faults."""
    findings = json.loads((run / "result.json").read_text())["findings"]
    cases = [each for each in findings if each["case"]]
    cases.sort(key=lambda each: (not each["control"], "[calm]" not in each["scenario"], -each["times"]))
    return str(cases[0]["case"]) if cases else None


@contextmanager
def backend(binaries: Path) -> Iterator[str]:
    """A fresh database and the backend over it; yields its URL and leaves nothing running."""
    with home() as place, database(binaries, place) as port, host(port, place) as url:
        yield url


@contextmanager
def home() -> Iterator[Path]:
    """A temporary directory that other users may enter."""
    with tempfile.TemporaryDirectory(prefix="licensing-foreign-") as place:
        Path(place).chmod(0o755)
        yield Path(place)


def postgresql() -> Path:
    """The directory of PostgreSQL's server programs. Raises TargetNotReady where there is none."""
    found = [shutil.which("initdb"), *sorted(map(str, DEBIAN.glob("*/bin/initdb")), reverse=True)]
    for each in filter(None, found):
        binaries = Path(each).resolve().parent
        if (binaries / "postgres").exists():
            return binaries
    message = "PostgreSQL is not installed (no initdb on PATH or in /usr/lib/postgresql): .ci/setup installs it"
    raise TargetNotReady(message)


@contextmanager
def database(binaries: Path, place: Path) -> Iterator[int]:
    """PostgreSQL in ``place`` on a loopback port, by an unprivileged user when we are root."""
    account = unprivileged()
    run = partial(
        subprocess.Popen,
        user=account and account.pw_uid,
        group=account and account.pw_gid,
        extra_groups=[] if account else None,
    )
    own = place / "postgresql"
    own.mkdir(mode=0o700)
    if account is not None:
        os.chown(own, account.pw_uid, account.pw_gid)
    data = own / "data"
    port = free_port()
    with (place / "postgresql.log").open("wb") as log:
        make = [binaries / "initdb", "-A", "trust", "-U", "licensing", "-E", "UTF8", "--no-sync", "-D", data]
        if run(make, cwd=own, stdout=log, stderr=log).wait() != 0:
            raise TargetNotReady(f"initdb failed:\n{tail(place / 'postgresql.log')}")
        serve = [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", own]
        server = run(serve, cwd=own, stdout=log, stderr=log)
    with stopping(server, "PostgreSQL", port, signal.SIGINT):  # SIGINT: its fast shutdown
        await_port(server, port, "PostgreSQL", place / "postgresql.log")
        yield port


@contextmanager
def host(database_port: int, place: Path) -> Iterator[str]:
    """The backend under uvicorn with two workers; yields its URL once it answers through its database."""
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_HOST": "127.0.0.1",
        "DATABASE_PORT": str(database_port),
        "DATABASE_USER": "licensing",
        "DATABASE_PSWD": "unused",
        "DATABASE_NAME": "postgres",
        "LOG_LEVEL": "WARNING",
    }
    with (place / "backend.log").open("wb") as log:
        server = subprocess.Popen(
            [FOREIGN, "host.py", str(port)],
            cwd=Path(__file__).parent,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    with stopping(server, "the backend", port, signal.SIGTERM, group=True):
        await_port(server, port, "the backend", place / "backend.log")
        deadline = CLOCK.now() + 20
        # A 204 of /lm/health says only that a worker runs; /lm/features has been to the database.
        while not answers(f"{url}/lm/features"):
            if CLOCK.now() > deadline:
                raise TargetNotReady(f"the backend does not reach its database:\n{tail(place / 'backend.log')}")
            CLOCK.sleep(0.1)
        yield url


@contextmanager
def stopping(
    process: subprocess.Popen[Any], name: str, port: int, how: signal.Signals, *, group: bool = False
) -> Iterator[None]:
    """Stop ``process`` at the end, and make sure that it and its port are gone."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        if group:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # workers that outlived their parent
        deadline = CLOCK.now() + 5
        while listening(port):
            if CLOCK.now() > deadline:
                raise CleanUpIncomplete(f"{name} still listens on 127.0.0.1:{port}")
            CLOCK.sleep(0.05)


def await_port(process: subprocess.Popen[Any], port: int, name: str, log: Path) -> None:
    """Return when ``port`` is listened on; raises TargetNotReady when the process ends or 20 s pass."""
    deadline = CLOCK.now() + 20
    while not listening(port):
        if process.poll() is not None or CLOCK.now() > deadline:
            raise TargetNotReady(f"{name} did not start:\n{tail(log)}")
        CLOCK.sleep(0.05)


def listening(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(url: str) -> bool:
    """Whether a GET of ``url`` succeeds."""
    try:
        return httpx2.get(url, timeout=2).is_success
    except httpx2.HTTPError:
        return False


def free_port() -> int:
    """A free loopback port below 32768: above it a retrying client may take it for its own end."""
    for port in range(21800, 22800):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise TargetNotReady("no free loopback port from 21800 to 22799")


def unprivileged() -> pwd.struct_passwd | None:
    """The account to run PostgreSQL by: None, that is ourselves, unless we are root, which it refuses."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise TargetNotReady("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


def tail(log: Path) -> str:
    """The last lines of a log, for an error message."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-8:])


if __name__ == "__main__":
    sys.exit(main())
