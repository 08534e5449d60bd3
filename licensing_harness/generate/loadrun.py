"""Starts a load run as a process of its own, and reads back what it measured and recorded.

Locust patches the process it is imported in, so nothing here imports it, nor
anything of ``licensing_harness.load``: the module is started by name.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from licensing_harness.errors import GuardRefused, HarnessError, NotRun, TargetNotReady, UsageError
from licensing_harness.history import StoryHistory, read_history
from licensing_harness.verdict import Exit, Verdict

RESULT_SCHEMA: Final = 1
NEEDS_EXTRA: Final = "needs Locust: pip install 'licensing-harness[load]'"
ENVIRONMENT: Final = "LICENSING_SECRET_"
"""Secrets travel to the process in variables of this prefix, never on its command line."""

_GRACE: Final = 30.0
"""Seconds beyond the run's own length for start-up, calls under way and the report."""


class VerbResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the calls of one verb.

    Percentiles are milliseconds over all its calls, and None where there are too
    few of them (20 for p95, 100 for p99).
    """

    verb: str
    accepted: int = 0
    refused: int = 0
    unknown: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    longest: float | None = None

    @property
    def samples(self) -> int:
        """How many calls ended."""
        return self.accepted + self.refused + self.unknown


class ThresholdResult(msgspec.Struct, frozen=True, kw_only=True):
    """One threshold and what was measured. Without enough samples it is undecided, whatever the limit."""

    name: str
    limit: float
    unit: str
    value: float | None
    samples: int
    verdict: Verdict
    reason: str = ""


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """``load/result.json``: one load run. ``rate`` is calls a second."""

    schema: int = RESULT_SCHEMA
    profile: str
    url: str
    seed: int
    users: int
    seconds: float
    stories: int = 0
    left: int = 0
    """Licences that are still good although the run is over."""
    requests: int = 0
    rate: float = 0.0
    unknown_share: float | None = None
    verbs: list[VerbResult] = []
    thresholds: list[ThresholdResult] = []
    exit_code: int = int(Exit.UNDECIDED)
    notes: list[str] = []


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadOutcome:
    """A load run that ended: its result, and its stories to be judged by the checkers."""

    result: LoadResult
    stories: tuple[StoryHistory, ...]
    history: Path
    torn: str = ""

    @property
    def thresholds(self) -> list[dict[str, Any]]:
        """The thresholds as plain data, for ``result.json`` of the whole run."""
        return [{"source": self.result.profile, **msgspec.to_builtins(each)} for each in self.result.thresholds]

    @property
    def summary(self) -> list[str]:
        """One line a verb: how many calls, and the percentiles with their number of samples."""
        return [
            f"{verb.verb:<14} n={verb.samples:<7} unknown={verb.unknown:<5} "
            + " ".join(
                f"{name}={value:.1f} ms"
                for name, value in (("p50", verb.p50), ("p95", verb.p95), ("p99", verb.p99))
                if value is not None
            )
            for verb in self.result.verbs
        ]


def locust_installed() -> bool:
    """Whether the ``load`` extra is there. Looks, and does not import."""
    return importlib.util.find_spec("locust") is not None


def run_profile(
    profile: str,
    url: str,
    adapter_name: str,
    directory: Path,
    *,
    users: int,
    seconds: float,
    env: Mapping[str, str],
    seed: int = 0,
    prefix: str = "",
    tag: str = "",
    scenario: str = "",
    tries: tuple[str, ...] = (),
    thresholds: tuple[str, ...] = (),
    max_requests: int = 200_000,
    allow_hosts: tuple[str, ...] = (),
) -> LoadOutcome:
    """Run a load profile against ``url`` and wait for its end; the report goes to ``directory/load``.

    ``env`` holds the target's secrets by name (``{"api_token": ...}``). Raises
    NotRun without the ``load`` extra, and, by the process's exit code, UsageError,
    TargetNotReady, GuardRefused or HarnessError with its own words. A missed
    threshold and licences left behind raise nothing: they are in the outcome.
    """
    if not locust_installed():
        raise NotRun(NEEDS_EXTRA)
    command = [sys.executable, "-m", "licensing_harness.load", "--profile", profile, "--url", url]
    command += ["--adapter", adapter_name, "--report", str(directory), "--secrets-from-env"]
    command += ["--users", str(users), "--seconds", str(seconds), "--seed", str(seed)]
    command += ["--max-requests", str(max_requests)]
    for option, value in (("--prefix", prefix), ("--tag", tag), ("--scenario", scenario)):
        command += [f"{option}={value}"] if value else []
    for option, values in (("--tries", tries), ("--threshold", thresholds), ("--allow-host", allow_hosts)):
        command += [f"{option}={value}" for value in values]
    report = directory / "load"
    report.mkdir(parents=True, exist_ok=True)
    with (report / "output.txt").open("wb") as output:
        code = _run(command, _environment(env), output.fileno(), seconds + _GRACE)
    _raise_for(code, report)
    return read_outcome(report)


def read_outcome(report: Path) -> LoadOutcome:
    """The outcome that a load run left in its report directory.

    Raises UsageError when there is none, or one of a schema newer than this harness knows.
    """
    path = report / "result.json"
    try:
        result = msgspec.json.decode(path.read_bytes(), type=LoadResult)
    except OSError as error:
        message = f"{path}: can't be read ({error.strerror}). The load run left no report; see {report / 'output.txt'}."
        raise UsageError(message) from error
    except msgspec.DecodeError as error:
        message = f"{path}: no load result: {error}"
        raise UsageError(message) from error
    if result.schema > RESULT_SCHEMA:
        message = f"{path}: written in schema {result.schema}; this version reads up to {RESULT_SCHEMA}. Upgrade."
        raise UsageError(message)
    history = read_history(report / "history.jsonl")
    return LoadOutcome(
        result=result,
        stories=tuple(history.stories.values()),
        history=report / "history.jsonl",
        torn=history.torn,
    )


def _environment(secrets: Mapping[str, str]) -> dict[str, str]:
    """What this process has in its environment, its import path (adapters live there) and the secrets."""
    given = dict(os.environ)
    given["PYTHONPATH"] = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    given.update({f"{ENVIRONMENT}{name.upper()}": value for name, value in secrets.items()})
    return given


def _run(command: list[str], environment: dict[str, str], output: int, seconds: float) -> int:
    """The exit code; a process that outlives its time, or this one's interruption, is ended first."""
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)  # noqa: S603 - our own module, no shell
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        message = f"the load run did not end within {seconds:g} s and was stopped"
        raise HarnessError(message) from error
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=_GRACE / 3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


_ERRORS: Final[Mapping[int, type[HarnessError]]] = {
    Exit.HARNESS_ERROR: HarnessError,
    Exit.USAGE: UsageError,
    Exit.NOT_READY: TargetNotReady,
    Exit.GUARD: GuardRefused,
}
_ENDED: Final = frozenset({Exit.HELD, Exit.UNDECIDED, Exit.THRESHOLD, Exit.CLEAN_UP})


def _raise_for(code: int, report: Path) -> None:
    if code in _ENDED:
        return
    text = (report / "output.txt").read_text("utf-8", "replace").strip()
    last = text.splitlines()[-1].removeprefix("error: ") if text else "it said nothing"
    message = last if code in _ERRORS else f"the load run ended with exit code {code}: {last}"
    raise _ERRORS.get(code, HarnessError)(message)
