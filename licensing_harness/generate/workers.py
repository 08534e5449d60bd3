"""Exploring on all cores: processes that each take a share of the seeds, and one that sums up.

Shares are handed out in the order of the seeds. After a broken promise no more
are, and those that are under way are waited for: the lowest seed is the answer,
however many processes there are.
"""

from __future__ import annotations

import gc
import logging
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final

from licensing_harness.errors import (
    CleanUpIncomplete,
    GuardRefused,
    HarnessError,
    NotRun,
    TargetNotReady,
    UsageError,
)
from licensing_harness.generate.explore import SAMPLE, Explorer, Reached, Unequal

SHARE: Final = 10
"""Seeds that a process is given at a time: between two shares there is something to say."""

BEAT: Final = 1.0
"""Seconds after which something is said, whether a share came back or not."""

GARBAGE: Final = 50_000
"""So many objects may be made, and not go away, before a process that explores collects garbage."""

_PATIENCE: Final = 5.0

_BLAMES: Final[Mapping[str, type[Exception]]] = {
    kind.__name__: kind
    for kind in (HarnessError, UsageError, TargetNotReady, GuardRefused, CleanUpIncomplete, NotRun, Unequal)
}

Say = Callable[[Reached], None]


@dataclass(frozen=True, slots=True)
class _Blame:
    """An error of a worker, as plain data."""

    kind: str
    text: str

    def error(self) -> Exception:
        """The error again, for the process that sums up."""
        kind = _BLAMES.get(self.kind, HarnessError)
        return kind(self.text)


def explore_all(
    explorer: Explorer, seeds: Sequence[int], *, jobs: int, say: Say, reached: Reached, every_twice: bool = False
) -> None:
    """Explore these seeds, on ``jobs`` processes, up to the first that breaks a promise.

    ``reached`` is added to as shares come back, so that it tells what was done also
    when this is interrupted; ``say`` is called with it about once a second. One seed
    in :data:`SAMPLE` is told twice, with ``every_twice`` each; a few of them here as well.

    Raises what telling and judging raise, and HarnessError when a process dies.
    """
    every = 1 if every_twice else SAMPLE
    shares = (seeds[at : at + SHARE] for at in range(0, len(seeds), SHARE))
    todo = ((share, frozenset(seed for seed in share if (seed - seeds[0]) % every == 0)) for share in shares)
    with _processes(explorer, min(jobs, -(-len(seeds) // SHARE))) as idle:
        busy: list[Connection] = []
        while True:
            while idle and reached.broken is None and (share := next(todo, None)) is not None:
                pipe = idle.pop()
                with suppress(OSError):  # one that is gone already says so when it is listened to
                    pipe.send(share)
                busy.append(pipe)
            if not busy:
                break
            spoke = wait(busy, BEAT)
            for pipe in [each for each in busy if each in spoke]:
                reached.add(_received(pipe))
                busy.remove(pipe)
                idle.append(pipe)
            say(reached)
    for seed, digest in reached.digests.items():
        explorer.check(seed, digest)


def mute() -> None:
    """What a target logs of its thousands of planned troubles is not for the terminal, unless it says so itself."""
    logging.getLogger().addHandler(logging.NullHandler())


def _received(pipe: Connection) -> Reached:
    try:
        answer = pipe.recv()
    except (EOFError, OSError) as error:
        message = (
            "a process that explored died in the middle of its share, perhaps for want of memory: try fewer --jobs"
        )
        raise HarnessError(message) from error
    if isinstance(answer, _Blame):
        raise answer.error()
    found: Reached = answer
    return found


@contextmanager
def _processes(explorer: Explorer, count: int) -> Iterator[list[Connection]]:
    """So many processes, as pipes to them; they are gone afterwards, whatever happened."""
    context = get_context("spawn")
    processes: list[BaseProcess] = []
    pipes: list[Connection] = []
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(explorer, theirs), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
        yield list(pipes)
    finally:
        for pipe in pipes:
            pipe.close()
        for each in processes:
            each.terminate()
        for each in processes:
            each.join(_PATIENCE)
            if each.is_alive():
                each.kill()
                each.join()


def collect_seldom() -> None:
    """For a process that only explores: garbage is collected seldom, and never looked for among what was imported.

    A story leaves some hundreds of objects in cycles, so this much garbage is a few megabytes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)


def _work(explorer: Explorer, pipe: Connection) -> None:
    """A process: explore share after share, until nobody asks any more."""
    mute()
    collect_seldom()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the one that sums up ends us
    while True:
        try:
            seeds, twice = pipe.recv()
        except (EOFError, OSError):
            return
        answer: Reached | _Blame
        try:
            answer = explorer.explore(seeds, twice=twice)
        except (HarnessError, NotRun) as error:
            answer = _Blame(type(error).__name__, str(error))
        try:
            pipe.send(answer)
        except OSError:
            return
