"""One live client: a thread with a loop, one adapter object, and its own way to the target.

A lane does one thing at a time. It outlives stories, so that connections and
whatever else an adapter keeps are used again, as a real client's are.
"""

from __future__ import annotations

import asyncio
import inspect
import queue
import ssl
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import httpx2

from licensing_harness.errors import CleanUpIncomplete, HarnessError, TargetNotReady
from licensing_harness.target.adapter import Adapter, Target
from licensing_harness.target.recorder import no_answer

Work = Callable[["Lane"], None]
Make = Callable[[httpx2.AsyncClient], Target]

_START: Final = 30.0


class Lane:
    """Runs ``work(lane)`` on its own thread, one after the other.

    The constructor returns when the adapter is open. Raises the adapter's own
    HarnessError as it is, TargetNotReady when ``open`` got no answer, and
    HarnessError for any other exception of it.
    """

    def __init__(
        self, name: str, adapter: type[Adapter], *, base_url: str, host: str, timeout: float, target: Make
    ) -> None:
        self.name = name
        self.adapter: Adapter
        self._kind = adapter
        self._base_url = base_url
        self._host = host
        self._timeout = timeout
        self._target = target
        self._runner: asyncio.Runner
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._idle = threading.Event()
        self._trouble: HarnessError | None = None
        self._thread = threading.Thread(target=self._live, name=f"licensing-{name}", daemon=True)
        self._thread.start()
        if not self.wait(_START):
            message = f"the adapter's open() for client {name} did not return within {_START:g} s"
            raise HarnessError(message)
        self._raise()

    def submit(self, work: Work) -> None:
        """Hand over the next thing to do; the lane must be idle."""
        self._idle.clear()
        self._work.put(work)

    def wait(self, seconds: float) -> bool:
        """Whether the lane is idle, now or within ``seconds``."""
        return self._idle.wait(seconds)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return self._idle.is_set()

    def result(self, reply: Any, deadline: float) -> Any:
        """The value of what an adapter's method returned, awaited on this lane's loop if it must be.

        Raises TimeoutError after ``deadline`` seconds. Only work of this lane may call it.
        """
        if not inspect.isawaitable(reply):
            return reply

        async def within() -> Any:
            async with asyncio.timeout(deadline):
                return await reply

        return self._runner.run(within())

    def close(self, seconds: float) -> None:
        """Close the adapter and end the thread; harmless when repeated.

        Raises CleanUpIncomplete when it does not end, and what ``close`` raised.
        """
        if self._thread.is_alive():
            self._work.put(None)
            self._thread.join(seconds)
        if self._thread.is_alive():
            message = f"client {self.name} is stuck in its adapter and could not be ended"
            raise CleanUpIncomplete(message)
        self._raise()

    def _live(self) -> None:
        with asyncio.Runner() as self._runner:
            http = httpx2.AsyncClient(
                base_url=self._base_url,
                timeout=self._timeout,
                trust_env=False,
                headers={"Host": self._host},
                verify=verification(self._base_url),
            )
            try:
                if self._open(http):
                    self._idle.set()
                    while (work := self._work.get()) is not None:
                        try:
                            work(self)
                        finally:
                            self._idle.set()
                    self._close()
            finally:
                with suppress(Exception):
                    self._runner.run(http.aclose())
                self._idle.set()

    def _open(self, http: httpx2.AsyncClient) -> bool:
        try:
            self.adapter = self._kind()
            self.adapter.open(self._target(http))
        except HarnessError as error:
            self._trouble = error
        except Exception as error:  # noqa: BLE001 - whose fault it is is told below
            reason = no_answer(error)
            if reason is not None:
                self._trouble = TargetNotReady(f"the adapter's open() got no answer: {reason}")
            else:
                self._trouble = HarnessError(f"the adapter failed in open(): {blame(error)}")
        return self._trouble is None

    def _close(self) -> None:
        try:
            self.result(self.adapter.close(), self._timeout)
        except HarnessError as error:
            self._trouble = error
        except Exception as error:  # noqa: BLE001 - whatever it was, something may be left open
            if no_answer(error) is None:
                self._trouble = HarnessError(f"the adapter failed in close(): {blame(error)}")

    def _raise(self) -> None:
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            raise trouble


def verification(url: str) -> ssl.SSLContext | bool:
    """What httpx2 verifies certificates with.

    Over plain HTTP nothing, and then it shall not load the machine's
    certificates: that takes 0.1 s a client.
    """
    return True if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def blame(error: Exception) -> str:
    """What was raised, and the file and line where."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"
