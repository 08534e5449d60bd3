"""``validate/echo``: online validation against an echo, warm; and beside it cold, and against bare ASGI.

One server process on one core, wrk with 32 connections on another. Warm: 1,000
distinct tokens over and over, so that every signature was verified before.
Cold: each token once.

The bar is on what a clock shows. Where others use these cores too, processor time
is the better witness: ``validate-cpu/...`` counts the server's own, and
``validate-busy`` says how much of its core it got in its worst round.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import servers
from benchmarks.bench import Row, in_turns, median_ratio, row, two_cores

TOKENS: Final = 1000
ROUNDS: Final = 6
SECONDS: Final = 2.0
COLD_ROUNDS: Final = 3
COLD_EACH: Final = 10
"""Thousands of tokens a cold round has: more than it can use in its second."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one server did in one round, by the clock and by its own processor time."""

    rate: float
    per_cpu_second: float
    busy: float
    """The share of the round in which it had the core."""


def measure() -> list[Row]:
    """The warm ratio, by the clock and by processor time; the ratio to bare ASGI; the cold figure."""
    serve, load = two_cores()
    servers.need_wrk()
    with ExitStack() as stack:
        directory = stack.enter_context(servers.folder())
        started = stack.enter_context(servers.reference(serve, directory, "--token-lifetime", "3600"))
        echo = stack.enter_context(servers.serving(serve, "-m", "benchmarks.echo", "starlette"))
        bare = stack.enter_context(servers.serving(serve, "-m", "benchmarks.echo", "bare"))
        script = directory / "validate.lua"
        script.write_text(servers.REPLAY.replace("@PATH@", "/v1/validate"))
        sold = servers.licences(started["url"], started["api_token"], TOKENS)
        made = servers.tokens(started["url"], sold, 1 + COLD_ROUNDS * COLD_EACH)
        warm = _bodies(directory / "warm", made[:TOKENS])
        _agrees(started["url"], made[0])

        def contender(server: dict[str, Any]) -> Callable[[], Round]:
            return lambda: _round(server, script, load, warm, SECONDS)

        contenders = {"validate": contender(started), "echo": contender(echo), "bare": contender(bare)}
        for warm_up in contenders.values():
            warm_up()
        rounds = in_turns(ROUNDS, contenders)
        cold = [
            _cold(started, script, load, _bodies(directory / f"cold-{number}", fresh))
            for number, fresh in enumerate(_slices(made))
        ]
    rate = {name: [each.rate for each in done] for name, done in rounds.items()}
    cpu = {name: [each.per_cpu_second for each in done] for name, done in rounds.items()}
    return [
        _compared("validate/echo", rate, "echo", "/s"),
        _compared("validate/bare", rate, "bare", "/s"),
        _compared("validate-cpu/echo", cpu, "echo", "/CPU s"),
        _compared("validate-cpu/bare", cpu, "bare", "/CPU s"),
        row("validate-cpu-cold/echo", statistics.median(cold), "/CPU s", statistics.median(cpu["echo"])),
        row("validate-busy", min(each.busy for done in rounds.values() for each in done), "share of a core"),
    ]


def _compared(name: str, figures: dict[str, list[float]], other: str, unit: str) -> Row:
    ours, theirs = figures["validate"], figures[other]
    return row(name, statistics.median(ours), unit, statistics.median(theirs), median_ratio(ours, theirs))


def _round(server: dict[str, Any], script: Path, core: int, bodies: Path, seconds: float) -> Round:
    """Load one server for some seconds."""
    before = servers.cpu_seconds(server["pid"])
    load = servers.wrk(server["url"], script, seconds, core, str(bodies))
    spent = servers.cpu_seconds(server["pid"]) - before
    return Round(load.rate, load.requests / spent, spent / seconds)


def _slices(made: list[str]) -> list[list[str]]:
    """The tokens of each cold round."""
    size = TOKENS * COLD_EACH
    return [made[TOKENS + number * size : TOKENS + (number + 1) * size] for number in range(COLD_ROUNDS)]


def _bodies(path: Path, tokens: list[str]) -> Path:
    path.write_text("".join(f'{{"token":"{token}"}}\n' for token in tokens))
    return path


def _agrees(url: str, token: str) -> None:
    """The server says yes to what is about to be measured."""
    (answer,) = servers.ask(url, [("/v1/validate", {}, {"token": token})])
    if not answer["valid"]:
        raise RuntimeError(f"a new token is refused: {answer}")


def _cold(server: dict[str, Any], script: Path, core: int, bodies: Path) -> float:
    """Validations in a second of processor time, over tokens that were never sent before."""
    before = servers.cpu_seconds(server["pid"])
    load = servers.wrk(server["url"], script, 1, core, str(bodies))
    if load.requests > TOKENS * COLD_EACH:
        raise RuntimeError(f"{load.requests} requests used {TOKENS * COLD_EACH} tokens more than once; make more")
    return load.requests / (servers.cpu_seconds(server["pid"]) - before)
