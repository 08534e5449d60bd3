"""Virtual time: one heap of events, and a small asyncio loop for every simulated process.

A :class:`Timeline` owns the time. Each :class:`NodeLoop` is one process, a
server or a client, with real ``asyncio`` tasks on it. Nothing waits for real:
time jumps to the next event. The same events in the same order give the same
run, always.
"""

from __future__ import annotations

import asyncio
import sys
import weakref
from asyncio.events import _get_running_loop, _set_running_loop  # for event loops to call, by its own docstring
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, NoReturn

from licensing_harness.errors import HarnessError

SPIN: Final = 200_000
"""So many callbacks without time passing mean that the process spins."""

_STUBBORN: Final = 1_000
"""How often a coroutine that awaits in its ``finally`` is told to end."""

_TIDY_AT: Final = 64


class PowerOff(BaseException):
    """The process that runs this code is gone. No handler of an application should catch it."""


class Ready(asyncio.Handle):
    """A handle, made in half the time: asyncio's own asks first whether its loop is in debug mode."""

    __slots__ = ()

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], loop: NodeLoop, context: Context | None = None
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


class Timer(asyncio.TimerHandle):
    """A timer, made in the same way."""

    __slots__ = ("idle",)

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: NodeLoop,
        context: Context | None = None,
    ) -> None:
        self._context = copy_context() if context is None else context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None
        self._when = when
        self._scheduled = False
        self.idle = False
        """Nothing would come of it if its time were now: it does not count as something that is going to happen."""


class Timeline:
    """True time in seconds from 0, and what will happen when.

    ``now`` never goes back. Events of one instant happen in the order in which
    they were scheduled.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.failure: HarnessError | None = None
        """Set by an event that found the run untrustworthy; ``run`` raises it."""
        self.paused = 0
        """Processes that are stopped and will go on."""
        self._heap: list[tuple[float, int, NodeLoop, asyncio.Handle]] = []
        self._counter = count()

    def at(self, when: float, node: NodeLoop, handle: asyncio.Handle) -> None:
        """Run ``handle`` on ``node`` at ``when``, or now if that has passed."""
        heappush(self._heap, (when, next(self._counter), node, handle))

    def after(self, delay: float, node: NodeLoop, callback: Callable[..., object], *args: Any) -> None:
        """Run ``callback`` on ``node`` in ``delay`` seconds of true time."""
        heappush(self._heap, (self.now + delay, next(self._counter), node, Ready(callback, args, node)))

    def tick(self) -> None:
        """Let a microsecond pass, so that what follows is strictly later. Events due by then are late by it."""
        self.now += 1e-6

    def run(self, *, until: float = float("inf"), stop: Callable[[], bool] | None = None) -> bool:
        """Let events happen up to ``until`` or until ``stop()``; whether it stopped for the latter.

        With neither in sight it returns when nothing is left to happen.
        """
        heap = self._heap
        before = _get_running_loop()
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=_first_iteration, finalizer=_finalise)
        try:
            while stop is None or not stop():
                if not heap or heap[0][0] > until:
                    return False
                when, _, node, handle = heappop(heap)
                if node.halted or handle._cancelled:  # noqa: SLF001 - on every event
                    node.keep(handle)
                    continue
                self.now = max(self.now, when)
                _set_running_loop(node)
                node.run_once(handle)
                if self.failure is not None:
                    failure, self.failure = self.failure, None
                    raise failure
            return True
        finally:
            sys.set_asyncgen_hooks(*hooks)
            _set_running_loop(before)

    def pass_until(self, when: float) -> None:
        """Let everything up to ``when`` happen; afterwards it is ``when``, or later."""
        self.run(until=when)
        self.now = max(self.now, when)

    def quiet(self, waiting: frozenset[NodeLoop] = frozenset()) -> bool:
        """Whether nothing is going to happen any more on any other process than ``waiting``."""
        return not self.paused and all(
            node in waiting
            or node.dead
            or handle.cancelled()
            or node.woken_by is handle
            or (type(handle) is Timer and handle.idle)
            for _, _, node, handle in self._heap
        )


# The interface has some fifty methods; those left out raise NotImplementedError, as asyncio means it.
_AbstractLoop: Any = asyncio.AbstractEventLoop


class NodeLoop(_AbstractLoop):  # type: ignore[misc]
    """One process: a loop of tasks on a shared :class:`Timeline`. ``kill`` is its SIGKILL.

    There are no threads: ``run_in_executor`` runs its function at once, and
    ``call_soon_threadsafe`` raises.
    """

    def __init__(self, timeline: Timeline, name: str) -> None:
        self.timeline = timeline
        self.name = name
        self.dead = False
        self.halted = False
        """Dead or paused: its events do not happen."""
        self.troubles: list[BaseException] = []
        """Exceptions that nobody caught, in order."""
        self.woken_by: asyncio.Handle | None = None
        self._kept: list[asyncio.Handle] | None = None
        """What happens when it goes on; None while it is not paused."""
        self._ready: deque[asyncio.Handle] = deque()
        self._draining = False
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._tidy_at = _TIDY_AT
        self._generators: dict[int, weakref.ref[AsyncGenerator[Any, Any]]] = {}

    # Running --------------------------------------------------------------------------------

    def run_once(self, handle: asyncio.Handle) -> None:
        """Run ``handle`` and all that is ready after it, in this instant."""
        ready = self._ready
        # "Is my loop the running one?" is not the same question: only a draining loop needs no waking.
        self._draining = True
        self.woken_by = None
        try:
            handle._run()  # noqa: SLF001 - what event loops do with handles
            left = SPIN
            while ready:
                handle = ready.popleft()
                if not handle._cancelled:  # noqa: SLF001
                    handle._run()  # noqa: SLF001
                    left -= 1
                    if not left:
                        self._spins()
        finally:
            del handle  # an exception's traceback may keep this frame, and would keep its own task with it
            self._draining = False

    def _spins(self) -> NoReturn:
        message = (
            f"the simulated {self.name} spins: {SPIN:,} callbacks ran and no time passed. "
            "A loop over asyncio.sleep(0) never ends in virtual time; wait for an event or for some time."
        )
        raise HarnessError(message)

    def kill(self) -> None:
        """End every task now, silently: no ``finally`` of theirs reaches the fenced world outside."""
        self.tidy()
        self._unpause()
        self.dead = self.halted = True
        self._ready.clear()
        with self.running():
            for task in tuple(self._tasks):
                if not task.done():
                    task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
                    coroutine = task.get_coro()
                    if coroutine is not None:
                        _put_down(coroutine.close)
            for generator in [each() for each in self._generators.values()]:
                if generator is not None:
                    _put_down(partial(generator.aclose().__await__().send, None))
        self._tasks.clear()
        self._generators.clear()

    def pause(self) -> None:
        """As SIGSTOP: from now its events wait, in their order; nothing when it is paused or dead."""
        if not self.halted:
            self.halted = True
            self._kept = []
            self.timeline.paused += 1

    def resume(self) -> None:
        """As SIGCONT: what waited happens now, timers that are over included; nothing when it is not paused."""
        for handle in self._unpause():
            self.timeline.at(self.timeline.now, self, handle)

    def _unpause(self) -> list[asyncio.Handle]:
        kept, self._kept = self._kept, None
        if kept is None:
            return []
        self.halted = False
        self.timeline.paused -= 1
        return kept

    def keep(self, handle: asyncio.Handle) -> None:
        """An event's time has come while the process is halted: paused, it keeps it for later."""
        if self._kept is not None and not handle.cancelled():
            self._kept.append(handle)

    def tidy(self) -> None:
        """Let go of finished tasks; exceptions of theirs that nobody asked for turn up in ``troubles``."""
        self._tasks = {task: None for task in self._tasks if not task.done()}

    @contextmanager
    def running(self) -> Iterator[None]:
        """As if this loop were running: for code of its process that runs outside of events."""
        before = _get_running_loop()
        _set_running_loop(self)
        try:
            yield
        finally:
            _set_running_loop(before)

    # asyncio's interface --------------------------------------------------------------------

    def time(self) -> float:
        """Seconds on the process's monotonic clock."""
        return self.timeline.now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        """Run ``callback`` in this instant, after what is ready already."""
        handle = Ready(callback, args, self, context)
        if not self.dead:
            self._ready.append(handle)
            if not self._draining and self.woken_by is None:
                self.woken_by = Ready(_nothing, (), self)
                self.timeline.at(self.timeline.now, self, self.woken_by)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Timer:
        """Run ``callback`` in ``delay`` seconds."""
        return self.call_at(self.timeline.now + max(0.0, delay), callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Timer:
        """Run ``callback`` when this loop's clock shows ``when``."""
        handle = Timer(when, callback, args, self, context)
        if not self.dead:
            self.timeline.at(when, self, handle)
        return handle

    def call_soon_threadsafe(self, *_: Any, **__: Any) -> NoReturn:
        """Raise RuntimeError: a thread would take real time, which the simulation doesn't have."""
        message = f"the simulated {self.name} has no threads: make endpoints, streams and background work async"
        raise RuntimeError(message)

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **how: Any) -> asyncio.Task[Any]:
        """A task of this process; ends with it."""
        if self.dead:
            coro.close()
            raise PowerOff
        if len(self._tasks) >= self._tidy_at:
            self.tidy()
            self._tidy_at = max(_TIDY_AT, 2 * len(self._tasks))  # so many may all be at work
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, **how)
        self._tasks[task] = None
        return task

    def run_in_executor(self, _: object, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Run ``func`` at once."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is the awaiter's
            future.set_exception(error)
        return future

    def get_task_factory(self) -> None:
        """None: tasks are asyncio's own."""

    def set_task_factory(self, factory: Any) -> None:
        """Ignored: tasks are asyncio's own."""

    def get_debug(self) -> bool:
        """Never in debug mode."""
        return False

    def is_running(self) -> bool:
        """Whether the process lives."""
        return not self.dead

    def is_closed(self) -> bool:
        """Whether the process is gone."""
        return self.dead

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Remember what nobody caught; what a dead process leaves behind is of no interest."""
        error = context.get("exception")
        if isinstance(error, HarnessError):
            self.timeline.failure = error
        elif not self.dead and isinstance(error, BaseException):
            self.troubles.append(error)

    async def shutdown_asyncgens(self) -> None:
        """Nothing: ``kill`` does it."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Nothing: there is none."""

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing: a cancelled event is skipped when its time comes."""

    def register(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Remember an asynchronous generator, to end it with the process."""
        if len(self._generators) >= _TIDY_AT:
            self._generators = {key: each for key, each in self._generators.items() if each() is not None}
        self._generators[id(generator)] = weakref.ref(generator)


def _nothing() -> None:
    """What a loop is woken with."""


def _put_down(close: Callable[[], object]) -> None:
    """Call ``close`` until it is obeyed. What it raises on the way is a dead process's."""
    for _ in range(_STUBBORN):
        try:
            close()
        except (KeyboardInterrupt, SystemExit):
            raise
        except StopAsyncIteration:
            return
        except BaseException as error:  # noqa: BLE001
            if isinstance(error, RuntimeError) and "ignored GeneratorExit" in str(error):
                continue  # it awaited in its finally: tell it again
            return
        else:
            return


def _first_iteration(generator: AsyncGenerator[Any, Any]) -> None:
    loop = _get_running_loop()
    if isinstance(loop, NodeLoop):
        loop.register(generator)


def _finalise(generator: AsyncGenerator[Any, Any]) -> None:
    loop = _get_running_loop()
    if isinstance(loop, NodeLoop) and not loop.dead:
        loop.create_task(generator.aclose())
