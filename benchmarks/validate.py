"""``validate/echo``: online validation against an echo, warm; and beside it cold, and against bare ASGI.

One server process on one core, wrk with 32 connections on another. Warm: 1,000
distinct tokens over and over, so that every signature was verified before.
Cold: each token once.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
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


def measure() -> list[Row]:
    """The warm ratio, the cold figure, and the ratio to bare ASGI."""
    serve, load = two_cores()
    servers.need_wrk()
    with ExitStack() as stack:
        directory = stack.enter_context(servers.folder())
        started = stack.enter_context(servers.reference(serve, directory, "--token-lifetime", "3600"))
        echo = stack.enter_context(servers.serving(serve, "-m", "benchmarks.echo", "starlette"))["url"]
        bare = stack.enter_context(servers.serving(serve, "-m", "benchmarks.echo", "bare"))["url"]
        url = started["url"]
        script = directory / "validate.lua"
        script.write_text(servers.REPLAY.replace("@PATH@", "/v1/validate"))
        sold = servers.licences(url, started["api_token"], TOKENS)
        made = servers.tokens(url, sold, 1 + COLD_ROUNDS * COLD_EACH)
        warm = _bodies(directory / "warm", made[:TOKENS])
        _agrees(url, made[0])

        def contender(target: str) -> Any:
            return lambda: servers.wrk(target, script, SECONDS, load, str(warm)).rate

        for target in (url, echo, bare):
            servers.wrk(target, script, 1, load, str(warm))
        rates = in_turns(ROUNDS, {"validate": contender(url), "echo": contender(echo), "bare": contender(bare)})
        cold = [_cold(url, script, load, directory, made, number=number) for number in range(COLD_ROUNDS)]
    ours, echoed, least = (statistics.median(rates[name]) for name in ("validate", "echo", "bare"))
    first = statistics.median(cold)
    return [
        row("validate/echo", ours, "/s", echoed, median_ratio(rates["validate"], rates["echo"])),
        row("validate/bare", ours, "/s", least, median_ratio(rates["validate"], rates["bare"])),
        row("validate-cold/echo", first, "/s", echoed, first / echoed),
    ]


def _bodies(path: Path, tokens: list[str]) -> Path:
    path.write_text("".join(f'{{"token":"{token}"}}\n' for token in tokens))
    return path


def _agrees(url: str, token: str) -> None:
    """The server says yes to what is about to be measured."""
    (answer,) = servers.ask(url, [("/v1/validate", {}, {"token": token})])
    if not answer["valid"]:
        raise RuntimeError(f"a new token is refused: {answer}")


def _cold(url: str, script: Path, core: int, directory: Path, made: list[str], *, number: int) -> float:
    """The rate of one second over tokens that were never sent before."""
    start = TOKENS * (1 + number * COLD_EACH)
    fresh = made[start : start + TOKENS * COLD_EACH]
    load = servers.wrk(url, script, 1, core, str(_bodies(directory / f"cold-{number}", fresh)))
    if load.requests > len(fresh):
        raise RuntimeError(f"{load.requests} requests used {len(fresh)} tokens more than once; make more of them")
    return load.rate
