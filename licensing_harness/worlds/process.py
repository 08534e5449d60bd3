"""A target that the harness starts: a process of its own, on a port of its own, killed at will.

What the process says goes to files in a temporary directory, so that no pipe
can fill up or stay open, and its last words are there when it dies.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx2

from licensing_harness.clock import Clock, RealClock
from licensing_harness.errors import CleanUpIncomplete, HarnessError, TargetNotReady, UsageError
from licensing_harness.faults.watchdog import Watchdog
from licensing_harness.masking import Masker
from licensing_harness.target import signing
from licensing_harness.worlds.live_postgresql import Database, OwnDatabase, check_store
from licensing_harness.worlds.live_stores import SqliteFile, TargetStore
from licensing_harness.worlds.story import Sign

SERVER_EXTRA: Final = "the reference server is not installed: pip install 'licensing-harness[server]'"
_POLL: Final = 0.01
_ASK: Final = 5.0
_USAGE: Final = (2, 4)
"""Exit codes by which a program says that it was called wrongly: argparse's, and ours."""
_MISSING: Final = re.compile(
    r"No module named '?(reference_server|starlette|uvicorn|uvloop|httptools|sqlalchemy|alembic|psycopg)"
)


def reference_command(
    python: str,
    db: str,
    keys: str,
    *,
    lease: float = 2,
    token_lifetime: float = 3,
    defect: str | None = None,
) -> list[str]:
    """The command that starts the reference server; ``{port}`` stands for the port. Seconds."""
    command = [python, "-m", "reference_server", "--host", "127.0.0.1", "--port", "{port}"]
    command += ["--db", db, "--keys", keys, "--lease", f"{lease:g}", "--token-lifetime", f"{token_lifetime:g}"]
    return [*command, "--test-clock", *(["--defect", defect] if defect else [])]


class TargetProcess:
    """One process, started by ``start``; its first line on stdout is JSON with its ``url``.

    ``command`` is a list without a shell; ``{port}`` in it is 0 at first and
    afterwards the port that the process chose. Leaving the context stops it.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        clock: Clock | None = None,
        masker: Masker | None = None,
        patience: float = 20.0,
        drain: float = 5.0,
        keep: bool = False,
    ) -> None:
        self.command = list(command)
        self.url = ""
        self.secrets: dict[str, str] = {}
        """What the first start-up told: every string of the first line but ``url``."""
        self.keep = keep
        """Leave the process running at the end, and its directory in place."""
        self.directory = Path(tempfile.mkdtemp(prefix="licensing-"))
        """Removed at the end."""
        self._clock = clock or RealClock()
        self._masker = masker or Masker()
        self._patience = patience
        self._drain = drain
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: Watchdog | None = None
        self._stopped = False
        atexit.register(self._at_exit)

    @property
    def pid(self) -> int:
        """The process's id; 0 while it does not run."""
        return self._process.pid if self._process is not None else 0

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    # Start ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it and wait for its first line; nothing when it runs.

        Raises TargetNotReady, with the last lines of its stderr, when it ends
        before that, says something else or stays silent; UsageError when it
        says that it was called wrongly.
        """
        if self.alive:
            return
        said, errors = self.directory / "stdout", self.directory / "stderr"
        command = [part.replace("{port}", str(self._port)) for part in self.command]
        with said.open("wb") as out, errors.open("wb") as err:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the command is ours or the user's own
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
                )
            except OSError as error:
                message = f"{command[0]} can't be started: {error.strerror or error}"
                raise TargetNotReady(message) from error
        try:
            if not self.keep:
                self._watchdog = Watchdog(self._process.pid, self.directory)
            self._read_first(said)
        except BaseException:
            self.kill()
            raise

    def _read_first(self, said: Path) -> None:
        line = self._first_line(said)
        try:
            told: dict[str, Any] = json.loads(line)
            url = str(told["url"])
            port = urlsplit(url).port
        except (ValueError, KeyError, TypeError) as error:
            message = self._explained(f"its first line is not JSON with a url: {line[:100]!r}")
            raise TargetNotReady(message) from error
        if self.url and url != self.url:
            message = f"the target came back at {url} instead of {self.url}"
            raise HarnessError(message)
        self.url, self._port = url, port or 0
        for name, value in told.items():
            if name not in {"url", "pid"} and isinstance(value, str):
                self._masker.register(value)
                self.secrets[name] = value

    def _first_line(self, said: Path) -> str:
        deadline = self._clock.now() + self._patience
        while True:
            ended = None if self._process is None else self._process.poll()
            with said.open("rb") as lines:
                line = lines.readline(1 << 16)
            if line.endswith(b"\n"):
                return line.decode("utf-8", "replace").strip()
            if ended is not None:
                text = self._explained(f"it ended with exit code {ended} before it was ready")
                if _MISSING.search(text):
                    raise UsageError(SERVER_EXTRA)
                if ended in _USAGE:
                    raise UsageError(f"the target process ({self._name()}) can't be started so{self.last_words()}")
                raise TargetNotReady(text)
            if self._clock.now() > deadline:
                raise TargetNotReady(self._explained(f"it was not ready within {self._patience:g} s"))
            self._clock.sleep(_POLL)

    def _explained(self, what: str) -> str:
        return f"the target process ({self._name()}): {what}{self.last_words()}"

    def _name(self) -> str:
        return self.command[2] if self.command[1:2] == ["-m"] else Path(self.command[0]).name

    def last_words(self, lines: int = 5) -> str:
        """The end of its stderr, masked, as a part of a sentence; empty when it said nothing."""
        try:
            with (self.directory / "stderr").open("rb") as errors:
                errors.seek(0, os.SEEK_END)
                errors.seek(max(0, errors.tell() - 8192))
                told = errors.read().decode("utf-8", "replace").strip().splitlines()[-lines:]
        except OSError:
            return ""
        return self._masker.mask("; it said: " + " | ".join(line.strip() for line in told)) if told else ""

    # End --------------------------------------------------------------------------------------

    def kill(self) -> None:
        """SIGKILL, to it and to whatever it started; returns when it is gone."""
        process, self._process = self._process, None
        self._stopped = False
        if process is None:
            return
        if process.poll() is None:
            _kill_group(process)
        try:
            process.wait(self._drain)
        except subprocess.TimeoutExpired as error:
            message = f"the target process {process.pid} could not be killed"
            raise CleanUpIncomplete(message) from error
        self._unwatch()

    def restart(self) -> None:
        """Kill it and start it again on the same port and data; returns when it is ready."""
        self.kill()
        self.start()

    def stop(self) -> bool:
        """SIGTERM, and SIGKILL when that is not obeyed in time; says whether it was."""
        process = self._process
        if process is None or process.poll() is not None:
            self.kill()
            return True
        if self.stopped:
            _signal_group(process, "SIGCONT")
        process.terminate()
        try:
            process.wait(self._drain)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        self._process = None
        self._unwatch()
        return True

    def _unwatch(self) -> None:
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None:
            watchdog.dismiss()

    # Pause ------------------------------------------------------------------------------------

    @property
    def stopped(self) -> bool:
        """Whether ``pause`` stopped it."""
        return self._stopped and self.alive

    def pause(self) -> None:
        """SIGSTOP, to it and to whatever it started; returns when it is seen to have stopped.

        Raises HarnessError when it does not run or does not stop.
        """
        self._change("SIGSTOP", "WSTOPPED")
        self._stopped = True

    def resume(self) -> None:
        """SIGCONT; returns when it is seen to go on. Nothing when it is not stopped.

        Raises HarnessError when it was ended in between, CleanUpIncomplete when it does not go on.
        """
        if not self._stopped:
            return
        try:
            self._change("SIGCONT", "WCONTINUED")
        except HarnessError as error:
            if not self.alive:
                self._stopped = False
                message = "the target process ended while it was stopped: its pause was not what was meant"
                raise HarnessError(message + self.last_words()) from error
            raise CleanUpIncomplete(str(error)) from error
        self._stopped = False

    def _change(self, name: str, event: str) -> None:
        process = self._process
        if sys.platform == "win32" or process is None or process.poll() is not None:
            message = f"the target process does not run: it can't be sent {name}"
            raise HarnessError(message)
        _signal_group(process, name)
        deadline = self._clock.now() + self._drain
        while process.poll() is None:
            with contextlib.suppress(ChildProcessError):  # it ended since it was looked at
                if _changed(process.pid, event):
                    return
            if self._clock.now() > deadline:
                message = f"the target process {process.pid} was sent {name} and did not obey"
                raise HarnessError(message)
            self._clock.sleep(_POLL / 10)
        message = f"the target process {process.pid} ended when it was sent {name}"
        raise HarnessError(message + self.last_words())

    def close(self) -> None:
        """Stop it and remove its directory, unless it is to be kept; harmless when repeated."""
        atexit.unregister(self._at_exit)
        if self.keep and self.alive and self._process is not None:
            self._process.returncode = 0  # it lives on: Popen shall not warn that nobody waits for it
            self._process = None
            return
        try:
            self.stop()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)
        if self.directory.exists():
            message = f"the directory {self.directory} could not be removed"
            raise CleanUpIncomplete(message)

    def _at_exit(self) -> None:
        """The last resort, when nobody left the context."""
        if not self.keep:
            self.kill()
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ReferenceProcess(TargetProcess):
    """The reference server, with its database and keys in the temporary directory.

    ``db`` is a path or a PostgreSQL URL when it shall be another one. ``store``
    is the URL of a PostgreSQL on which a database is made for it, and removed;
    ``allow_hosts`` are globs of hosts beside loopback where that may be.
    """

    def __init__(
        self,
        *,
        python: str = sys.executable,
        db: str | None = None,
        store: str | None = None,
        allow_hosts: tuple[str, ...] = (),
        lease: float = 2,
        token_lifetime: float = 3,
        defect: str | None = None,
        **rest: Any,
    ) -> None:
        super().__init__([], **rest)
        self.keys = self.directory / "keys.pem"
        self.store: TargetStore
        self._own: OwnDatabase | None = None
        if store is not None:
            try:
                self.store = self._own = OwnDatabase(check_store(store, allow_hosts))
            except BaseException:
                super().close()
                raise
            db = self._own.through
        elif db is not None and "://" in db:
            self.store = Database(db)
        else:
            db = db or str(self.directory / "licences.db")
            self.store = SqliteFile(Path(db))
        self.command = reference_command(
            python,
            db,
            str(self.keys),
            lease=lease,
            token_lifetime=token_lifetime,
            defect=defect,
        )

    def close(self) -> None:
        """Stop it, and remove its directory and its database, unless it is to be kept."""
        kept = self.keep and self.alive
        try:
            super().close()
        finally:
            if self._own is not None and not kept:
                self._own.close()

    def set_clock(self, offset: float) -> float:
        """Put the server's clock so many seconds off; returns what it then says. Raises HarnessError."""
        token = {"Authorization": f"Bearer {self.secrets.get('api_token', '')}"}
        try:
            with httpx2.Client(trust_env=False, timeout=_ASK, verify=False) as http:
                answer = http.post(f"{self.url}/test-clock", json={"offset": offset}, headers=token)
                answer.raise_for_status()
                return float(answer.json()["offset"])
        except (httpx2.HTTPError, ValueError, KeyError) as error:
            message = f"the server's clock could not be set: {type(error).__name__}: {error}"
            raise HarnessError(message) from error

    def signer(self) -> Sign:
        """``sign(header, claims)`` by the server's own key file. Raises UsageError when it holds no such key."""
        return signing.signer(self.keys.read_bytes())


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        process.kill()
        return
    _signal_group(process, "SIGKILL")


def _changed(pid: int, event: str) -> bool:
    """Whether a child of ours was seen to stop (``WSTOPPED``) or to go on (``WCONTINUED``)."""
    if sys.platform == "win32":
        return False
    waitid = getattr(os, "waitid", None)
    if waitid is not None:
        return waitid(os.P_PID, pid, getattr(os, event) | os.WNOHANG) is not None
    # Python has no waitid on macOS before 3.13.
    command = [shutil.which("ps") or "ps", "-o", "state=", "-p", str(pid)]
    said = subprocess.run(command, capture_output=True, check=False).stdout.strip()  # noqa: S603 - a program of the system
    return said != b"" and said.startswith(b"T") == (event == "WSTOPPED")


def _signal_group(process: subprocess.Popen[bytes], name: str) -> None:
    number = getattr(signal, name)
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        process.send_signal(number)
