"""The loop in virtual time: asyncio works on it, and a killed process leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import anyio
import pytest

from licensing_harness import HarnessError
from licensing_harness.worlds.loop import NodeLoop, PowerOff, Timeline


def run(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, float]:
    """The result and the virtual seconds it took."""
    timeline = Timeline()
    task = NodeLoop(timeline, "node").create_task(coroutine)

    assert timeline.run(stop=task.done), "it never ended"
    return task.result(), timeline.now


def test_sleep_takes_virtual_time() -> None:
    """A day is over at once."""
    assert run(asyncio.sleep(86_400, "done")) == ("done", 86_400)


def test_timeouts_work() -> None:
    """asyncio.timeout, wait_for and anyio's deadline end what takes too long."""

    async def patient() -> list[str]:
        said = []
        try:
            async with asyncio.timeout(2):
                await asyncio.sleep(10)
        except TimeoutError:
            said.append("timeout")
        try:
            await asyncio.wait_for(asyncio.sleep(10), 1)
        except TimeoutError:
            said.append("wait_for")
        with anyio.move_on_after(3):
            await anyio.sleep(10)
        said.append("anyio")
        return said

    assert run(patient()) == (["timeout", "wait_for", "anyio"], 6)


def test_groups_queues_and_locks_work() -> None:
    """Tasks of one process wait for each other."""

    async def work() -> list[int]:
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        lock = asyncio.Lock()
        seen: list[int] = []

        async def produce() -> None:
            for number in range(5):
                await queue.put(number)

        async def consume() -> None:
            for _ in range(5):
                async with lock:
                    seen.append(await queue.get())
                    await asyncio.sleep(1)

        async with asyncio.TaskGroup() as group:
            group.create_task(produce())
            group.create_task(consume())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, 1)
        return seen

    assert run(work()) == ([0, 1, 2, 3, 4], 6)


def test_processes_share_the_time() -> None:
    """Two loops take turns in the order of their events."""
    timeline = Timeline()
    seen: list[tuple[str, float]] = []

    async def tick(node: NodeLoop, pause: float) -> None:
        for _ in range(2):
            await asyncio.sleep(pause)
            assert asyncio.get_running_loop() is node
            seen.append((node.name, node.time()))

    for name, pause in (("a", 2), ("b", 3)):
        node = NodeLoop(timeline, name)
        node.create_task(tick(node, pause))
    timeline.run()

    assert seen == [("a", 2), ("b", 3), ("a", 4), ("b", 6)]


def test_a_function_for_a_thread_runs_at_once() -> None:
    """run_in_executor has no thread, and hands on what the function raises."""

    async def work() -> Any:
        loop = asyncio.get_running_loop()
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(None, lambda: 1 // 0)
        return await loop.run_in_executor(None, str, 7)

    assert run(work()) == ("7", 0)


def test_threads_are_refused() -> None:
    """call_soon_threadsafe says what to do instead."""
    with pytest.raises(RuntimeError, match="no threads: make endpoints, streams and background work async"):
        NodeLoop(Timeline(), "target").call_soon_threadsafe(print)


def test_a_loop_that_spins_is_stopped() -> None:
    """Endless work in one instant is a HarnessError, not a hanging run."""

    async def spin() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    timeline = Timeline()
    node = NodeLoop(timeline, "target")
    node.create_task(spin())

    with pytest.raises(HarnessError, match="target spins"):
        timeline.run()
    node.kill()


def test_what_nobody_catches_is_remembered() -> None:
    """An exception in a background task is not lost."""

    async def fail() -> None:
        raise LookupError("nobody saw it")

    timeline = Timeline()
    node = NodeLoop(timeline, "target")
    node.create_task(fail())
    timeline.run()
    node.tidy()

    assert [str(each) for each in node.troubles] == ["nobody saw it"]


def test_a_cancelled_timer_does_not_run() -> None:
    """Its time comes and nothing happens."""
    timeline = Timeline()
    node = NodeLoop(timeline, "node")
    ran: list[int] = []
    node.call_later(1, ran.append, 1).cancel()
    node.call_later(2, ran.append, 2)
    timeline.run()

    assert ran == [2]


def killed(work: Callable[[Callable[[str], None]], Coroutine[Any, Any, Any]]) -> list[str]:
    """What a process wrote that was killed while it slept."""
    timeline = Timeline()
    node = NodeLoop(timeline, "target")
    written: list[str] = []

    def write(what: str) -> None:
        if node.dead:
            raise PowerOff
        written.append(what)

    node.create_task(work(write))
    timeline.run(until=1)
    node.kill()
    timeline.run()
    gc.collect()  # what is unraisable would show now
    return written


def test_a_finally_of_a_killed_process_writes_nothing() -> None:
    """The fence is up before the code runs; what it raises is swallowed."""

    async def work(write: Callable[[str], None]) -> None:
        try:
            write("begun")
            await asyncio.sleep(10)
        finally:
            write("cleaned up")

    assert killed(work) == ["begun"]


def test_a_stubborn_handler_of_a_killed_process_ends() -> None:
    """It catches everything, waits in its finally, starts tasks: nothing comes of it."""

    async def work(write: Callable[[str], None]) -> None:
        write("begun")
        try:
            try:
                await asyncio.sleep(10)
            except BaseException:  # noqa: BLE001
                await asyncio.sleep(1)
                write("caught")
        finally:
            await asyncio.sleep(1)
            asyncio.get_running_loop().create_task(asyncio.sleep(1))
            write("done")

    assert killed(work) == ["begun"]


def test_an_asynchronous_generator_of_a_killed_process_ends() -> None:
    """Its finally is run behind the fence, and silently."""

    async def numbers(write: Callable[[str], None]) -> AsyncIterator[int]:
        try:
            while True:
                await asyncio.sleep(0.4)
                yield 1
        finally:
            write("closed")

    async def work(write: Callable[[str], None]) -> None:
        async for _ in numbers(write):
            write("number")

    assert killed(work) == ["number", "number"]


def test_a_generator_left_early_is_closed_in_a_living_process() -> None:
    """As asyncio does: its finally runs, and may wait."""

    async def numbers(seen: list[str]) -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(1)
            seen.append("closed")

    async def work() -> list[str]:
        seen: list[str] = []
        async for _ in numbers(seen):
            break
        await asyncio.sleep(2)
        return seen

    assert run(work()) == (["closed"], 2)


def test_tasks_that_never_began_vanish_with_their_process() -> None:
    """No "was never awaited", no "was destroyed but it is pending"."""
    timeline = Timeline()
    node = NodeLoop(timeline, "target")
    node.create_task(asyncio.sleep(1))
    node.kill()
    gc.collect()

    assert timeline.run() is False
    assert node.is_closed()


def test_many_finished_tasks_are_not_kept() -> None:
    """A long story does not grow by its finished tasks."""
    timeline = Timeline()
    node = NodeLoop(timeline, "target")
    for _ in range(500):
        node.create_task(asyncio.sleep(0))
        timeline.run()

    assert len(node._tasks) < 100
