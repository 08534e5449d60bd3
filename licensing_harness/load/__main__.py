"""``python -m licensing_harness.load``: one load run, headless, in a process of its own.

Exit codes: 0 all thresholds held, 11 one was missed, 10 too few samples to say,
14 licences were left
behind, 2 interrupted (the report is written), 3 the adapter failed, 4 usage, 12 target
not ready, 13 host not allowed. Promises are judged afterwards, from the history.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from licensing_harness.generate.loadrun import LoadResult
    from licensing_harness.target.adapter import Adapter


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and exit 4 as everywhere else in the harness."""

    def error(self, message: str) -> NoReturn:
        self.exit(4, f"error: {message}; see --help\n")


def _number(least: float, kind: type[int | float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = kind(text)
        if not least <= value < float("inf"):
            message = f"{text!r} is not {least:g} or more"
            raise argparse.ArgumentTypeError(message)
        return value

    parse.__name__ = "number"
    return parse


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m licensing_harness.load", description="Run a load profile and record its history.")
    add = parser.add_argument
    add("--profile", default="checkin", help="what the users do (default: checkin)")
    add("--url", required=True, help="the target's base URL")
    add("--adapter", required=True, metavar="MODULE:CLASS", help="your adapter")
    add("--users", type=_number(1, int), default=20, help="devices at once (default: 20)")
    add("--spawn-rate", type=_number(0.1, float), help="users started a second (default: all at once)")
    add("--seconds", type=_number(0.1, float), default=10.0, help="how long (default: 10)")
    add(
        "--pause",
        type=_number(0.001, float),
        default=0.05,
        help="mean pause of a device between calls (default: 0.05 s)",
    )
    add("--timeout", type=_number(0.01, float), default=5.0, help="seconds until a call is given up (default: 5)")
    add("--max-requests", type=_number(1, int), default=200_000, help="stop after so many calls (default: 200000)")
    add("--threshold", action="append", help="unknown<=0.01, p95<=200, p95:validate<=50 (default: unknown<=0.01)")
    add("--report", required=True, type=Path, metavar="DIR", help="the run directory; the report goes to DIR/load")
    add("--secrets-from-env", action="store_true", help="hand LICENSING_SECRET_<NAME> to the adapter")
    add("--seed", type=int, default=0, help="repeats the population and the devices' choices (default: 0)")
    add("--tag", default="", help="unique to the run; goes into what is created")
    add("--prefix", default="load-", help="before the stories' numbers (default: load-)")
    add("--scenario", default="load/checkin", help="the scenario named in the history")
    add("--tries", action="append", default=[], help="promises that the scenario tries")
    add("--allow-host", action="append", default=[], metavar="GLOB", help="a host that may be driven beside loopback")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the exit code. Errors are one line on stderr."""
    options = _parser().parse_args(arguments)
    from licensing_harness.errors import HarnessError

    try:
        result = _run(options)
    except HarnessError as error:
        sys.stderr.write(f"error: {error}".replace("\n", " ") + "\n")
        return error.exit_code
    sys.stdout.writelines(f"{line}\n" for line in _lines(result, options.report))
    return result.exit_code


def _run(options: argparse.Namespace) -> LoadResult:
    """Check everything that can be checked without Locust, import it, import the adapter, and run."""
    from licensing_harness.entropy import fresh_token
    from licensing_harness.errors import UsageError
    from licensing_harness.load.measures import DEFAULT_THRESHOLDS, parse_threshold
    from licensing_harness.load.plan import PROFILES, LoadPlan
    from licensing_harness.target.guard import check_target

    if options.profile not in PROFILES:
        message = f"--profile: there is no profile {options.profile!r}; choose from {', '.join(PROFILES)}"
        raise UsageError(message)
    endpoint = check_target(options.url, allow=options.allow_host)
    thresholds = tuple(map(parse_threshold, options.threshold or DEFAULT_THRESHOLDS))
    try:
        importlib.import_module("locust")  # before any adapter: it patches sockets, locks and sleep for gevent
    except ModuleNotFoundError as error:
        message = f"load runs need Locust ({error}): pip install 'licensing-harness[load]'"
        raise UsageError(message) from error
    from licensing_harness.load.run import run

    plan = LoadPlan(
        profile=options.profile,
        endpoint=endpoint,
        adapter=_adapter(options.adapter),
        report=options.report / "load",
        users=options.users,
        spawn_rate=options.spawn_rate or float(options.users),
        seconds=options.seconds,
        pause=options.pause,
        timeout=options.timeout,
        seed=options.seed,
        tag=options.tag or fresh_token("load-")[:13],
        prefix=options.prefix,
        scenario=options.scenario,
        tries=tuple(options.tries),
        thresholds=thresholds,
        most_requests=options.max_requests,
        secrets=_secrets() if options.secrets_from_env else {},
    )
    return run(plan)


def _secrets() -> dict[str, str]:
    from licensing_harness.generate.loadrun import ENVIRONMENT

    return {
        name.removeprefix(ENVIRONMENT).lower(): value
        for name, value in os.environ.items()
        if name.startswith(ENVIRONMENT)
    }


def _adapter(name: str) -> type[Adapter]:
    from licensing_harness.run import load_class
    from licensing_harness.target.adapter import Adapter, check_adapter

    adapter = load_class(name, Adapter, "adapter")
    check_adapter(adapter)
    return adapter


def _lines(result: LoadResult, report: Path) -> Iterator[str]:
    """A table of verbs, the thresholds, and where to go from here."""
    yield (
        f"load {result.profile}: {result.users} devices, {result.stories} stories, {result.requests} calls "
        f"in {result.seconds:.1f} s ({result.rate:g}/s)"
    )
    yield f"  {'verb':<14}{'n':>8}{'refused':>9}{'unknown':>9}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}"
    for verb in result.verbs:
        times = "".join(
            f"{'-' if value is None else format(value, '.1f'):>9}" for value in (verb.p50, verb.p95, verb.p99)
        )
        yield f"  {verb.verb:<14}{verb.samples:>8}{verb.refused:>9}{verb.unknown:>9}{times}"
    for each in result.thresholds:
        value = "nothing measured" if each.value is None else f"{each.value:.4g}"
        why = f" ({each.reason})" if each.reason else ""
        limit = f"{each.name}<={each.limit:g} {each.unit}"
        yield f"  threshold {limit}: {each.verdict.value}, {value}, n={each.samples}{why}"
    yield from (f"  note: {note}" for note in result.notes)
    yield f"  judge it: licensing-harness check {report / 'load' / 'history.jsonl'}"


if __name__ == "__main__":
    sys.exit(main())
