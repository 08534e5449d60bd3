"""``proxy``: the embedded fault proxy alone, in the foreground."""

from __future__ import annotations

import errno
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from licensing_harness.errors import HarnessError, UsageError
from licensing_harness.faults.proxy import ToxiproxyServer
from licensing_harness.faults.wire import Wire, joined, require_loopback


def run(*, host: str, port: int, seed: int) -> int:
    """Serve Toxiproxy's API until SIGINT or SIGTERM; the first line of output is its address.

    Raises UsageError for a host that is not loopback, HarnessError when it can't listen there.
    """
    try:
        require_loopback(host)
    except OSError as error:
        message = f"--host: {error}"
        raise UsageError(message) from error
    with _asked_to_end() as asked, Wire(seed=seed) as wire:
        server = ToxiproxyServer(wire)
        try:
            address = server.start(port, host)
        except OSError as error:
            where = joined((host, port))
            if error.errno == errno.EADDRINUSE:
                message = f"{where} is in use: stop what listens there, or give another --port (0 takes any free one)"
            else:
                message = f"can't listen on {where}: {error}; give another --host or --port"
            raise HarnessError(message) from error
        try:
            sys.stdout.write(f"http://{joined(address)}\n")
            sys.stdout.flush()
            asked.wait()
        finally:
            server.close()
    return 0


@contextmanager
def _asked_to_end() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; a second one ends the process."""
    asked = threading.Event()

    def ask(_: int, __: FrameType | None) -> None:
        asked.set()
        restore()

    def restore() -> None:
        for each, handler in before.items():
            signal.signal(each, handler)

    before = {each: signal.signal(each, ask) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        restore()
