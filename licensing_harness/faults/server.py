"""Which Toxiproxy a run uses: the embedded one, a binary that we start, or one that already runs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final, Self
from urllib.parse import urlsplit

from licensing_harness.clock import Clock
from licensing_harness.errors import CleanUpIncomplete, HarnessError, NotRun, UsageError
from licensing_harness.faults.proxy import ToxiproxyServer
from licensing_harness.faults.toxiproxy import ToxiproxyClient, ToxiproxyRefused, ToxiproxyUnreachable
from licensing_harness.faults.watchdog import Watchdog
from licensing_harness.faults.wire import Address, Wire

INSTALL: Final = (
    "GOBIN=$HOME/go/bin go install github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0 "
    "&& mv $HOME/go/bin/server $HOME/go/bin/toxiproxy-server"
)
_MAJOR: Final = "2"
_START: Final = 10.0
_STOP: Final = 5.0


class FaultServer:
    """A Toxiproxy API at ``address``. ``close`` ends it when this run started it."""

    kind = "toxiproxy at a URL"

    def __init__(self, address: Address) -> None:
        self.address = address

    def client(self) -> ToxiproxyClient:
        """A client of its own; close it."""
        return ToxiproxyClient(*self.address)

    def hits(self, proxy: str, toxic: str) -> int | None:  # noqa: ARG002 - only the embedded server can tell
        """How often a toxic had an effect; None where the server does not tell."""
        return None

    def close(self) -> None:
        """Nothing to end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Embedded(FaultServer):
    kind = "embedded"

    def __init__(self, wire: Wire) -> None:
        self._server = ToxiproxyServer(wire)
        super().__init__(self._server.start())

    def hits(self, proxy: str, toxic: str) -> int | None:
        return self._server.hits(proxy, toxic)

    def close(self) -> None:
        self._server.close()


class _Binary(FaultServer):
    kind = "toxiproxy-server"

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(("127.0.0.1", _free_port()))
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close
        self._process = subprocess.Popen(  # noqa: S603 - a path that we looked up
            [str(path), "-host", self.address[0], "-port", str(self.address[1])],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._watchdog = Watchdog(self._process.pid)
        try:
            self._wait_ready(clock, path)
        except BaseException:
            self.close()
            raise

    def _wait_ready(self, clock: Clock, path: Path) -> None:
        deadline = clock.now() + _START
        with self.client() as client:
            while True:
                try:
                    client.version()
                except (ToxiproxyUnreachable, ToxiproxyRefused) as error:
                    if self._process.poll() is not None or clock.now() > deadline:
                        message = f"{path} did not come up on {self.address[1]}: {self._said() or error}"
                        raise HarnessError(message) from error
                    clock.sleep(0.05)
                else:
                    return

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read()[-300:].decode("utf-8", "replace").strip()

    def close(self) -> None:
        try:
            if self._process.poll() is None:
                self._process.terminate()
                try:
                    self._process.wait(_STOP)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait(_STOP)
        except subprocess.TimeoutExpired as error:
            message = f"toxiproxy-server (process {self._process.pid}) could not be ended"
            raise CleanUpIncomplete(message) from error
        finally:
            self._watchdog.dismiss()
            self._log.close()


def find_binary(environment: Mapping[str, str] | None = None) -> Path | None:
    """``toxiproxy-server`` on PATH or where Go installs programs; None when it is not there."""
    environment = os.environ if environment is None else environment
    on_path = shutil.which("toxiproxy-server", path=environment.get("PATH"))
    if on_path:
        return Path(on_path)
    places = [
        environment.get("GOBIN", ""),
        *(f"{path}/bin" for path in environment.get("GOPATH", "").split(os.pathsep)),
    ]
    places.append(str(Path(environment.get("HOME", "~")).expanduser() / "go" / "bin"))
    for place in places:
        found = shutil.which("toxiproxy-server", path=place) if place not in {"", "/bin"} else None
        if found:
            return Path(found)
    return None


def find_server(option: str, wire: Wire, clock: Clock) -> FaultServer:
    """The Toxiproxy for ``--licensing-faults``: ``embedded``, ``toxiproxy``, a URL, or ``off``.

    Raises NotRun for ``off``, UsageError for anything else that is none of
    these or when there is no binary, HarnessError when it does not come up.
    """
    if option == "off":
        message = "needs faults on the wire: they are off (--licensing-faults off)"
        raise NotRun(message)
    if option == "embedded":
        return _Embedded(wire)
    if option == "toxiproxy":
        path = find_binary()
        if path is None:
            message = (
                "--licensing-faults toxiproxy: no toxiproxy-server on PATH or in Go's bin directory. "
                f"Install it ({INSTALL}), or use --licensing-faults embedded."
            )
            raise UsageError(message)
        return _Binary(path, clock)
    try:
        parts = urlsplit(option)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    else:
        host = host if parts.scheme == "http" and parts.path in {"", "/"} and not parts.username else None
    if host is None:
        message = f"--licensing-faults {option!r}: choose off, embedded, toxiproxy or http://HOST:8474"
        raise UsageError(message)
    server = FaultServer((host, port or 8474))
    with server.client() as client:
        version = client.version()
    major = version.partition(".")[0]
    if major.isdecimal() and major != _MAJOR:  # one that was built from source calls itself "git"
        message = (
            f"--licensing-faults {option}: Toxiproxy there is version {version}, and this speaks to {_MAJOR}.x; "
            f"start another one ({INSTALL}), or use --licensing-faults embedded"
        )
        raise UsageError(message)
    return server


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
