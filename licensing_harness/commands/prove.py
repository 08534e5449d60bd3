"""``prove``: every defect of the reference server is found, and the sound server is accused of nothing.

Each defect is hunted in the simulated world, in a process of its own, by the
scenarios that try its promise, first with little effort and then with more; one of
those that need something to go wrong at the right moment, by ``explore``, which
judges by that promise alone. It is *killed* when that promise is broken; what else
broke on the way stands in its row of the matrix. Then the sound server runs all scenarios under many seeds: every
accusation is a false alarm.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

from rich.console import Console
from rich.table import Table

from licensing_harness.checkers.judge import ALL_PROMISES, judge_story
from licensing_harness.clock import RealClock
from licensing_harness.commands.gate import environment, pytest_command
from licensing_harness.commands.planted import explored_defects, known_defects
from licensing_harness.config import Config, resolve
from licensing_harness.errors import HarnessError, UsageError
from licensing_harness.history import HistoryReader
from licensing_harness.report.text import many
from licensing_harness.run import HISTORY
from licensing_harness.verdict import Exit, Verdict
from licensing_harness.vocabulary import Cap

_SEED: Final = 20_261_125
"""Fixed, so that two runs prove the same."""

_EFFORTS: Final = {"smoke": ("smoke",), "ci": ("smoke", "ci"), "nightly": ("smoke", "ci", "nightly")}
_SEEDS: Final = {"smoke": 2000, "ci": 4000, "nightly": 40_000}
"""How many stories are told, by depth, of a server with a defect that only ``explore`` finds."""

_FIRST: Final = 1
"""The seed that exploring begins with: those that the documentation names are counted from there."""

_WIDTH: Final = 110
"""Columns of the matrix: a narrower terminal wraps its lines, a pipe gets them whole."""

_SHARE: Final = 10
"""Seeds that one process runs: between two of them there is something to say, and memory is given back."""

_JUDGED: Final = frozenset({int(Exit.HELD), int(Exit.BROKEN), int(Exit.UNDECIDED)})


@dataclass(kw_only=True, slots=True)
class Clean:
    """What the sound server came to under some seeds."""

    seeds: int = 0
    accused: list[str] = field(default_factory=list)
    """An entry for each accusation: the promise, and the scenario."""
    held: set[str] = field(default_factory=set)
    undecided: set[str] = field(default_factory=set)

    def add(self, other: Clean) -> None:
        """Count other seeds in; a promise that was held under some of them was tried."""
        self.seeds += other.seeds
        self.accused += other.accused
        self.held |= other.held
        self.undecided = (self.undecided | other.undecided) - self.held


@dataclass(kw_only=True, slots=True)
class Proof:
    """What became of one defect. ``examples`` is how many stories it took to find it, 0 when it was not."""

    name: str
    promise: str
    broken: list[str]
    killed: bool
    examples: int
    seconds: float


def run(*, names: list[str], seeds: int, jobs: int, depth: str) -> int:
    """Prove, print the matrix, write ``.licensing/prove.json``. Raises UsageError or HarnessError."""
    if depth not in _EFFORTS:
        message = f"--depth {depth!r} is none of {', '.join(_EFFORTS)}"
        raise UsageError(message)
    defects = known_defects(names)
    explored = explored_defects()
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)
    state = Path.cwd() / ".licensing"
    directory = state / "prove"
    shutil.rmtree(directory, ignore_errors=True)
    progress = _Progress(console, seeds)
    with ThreadPoolExecutor(jobs) as pool:
        hunts = {
            name: pool.submit(_explore, name, promise, directory, _SEEDS[depth], progress)
            if name in explored
            else pool.submit(_hunt, name, promise, directory, _EFFORTS[depth], progress)
            for name, promise in defects.items()
        }
        clean = [pool.submit(_clean, first, share, directory, progress) for first, share in _shares(seeds, jobs)]
        proofs = [_result(hunt, hunts.values(), clean) for hunt in hunts.values()]
        for each in clean:
            _result(each, hunts.values(), clean)
    sound = progress.clean
    shutil.rmtree(directory, ignore_errors=True)
    state.mkdir(parents=True, exist_ok=True)
    report = {
        "defects": [asdict(proof) for proof in proofs],
        "clean_runs": sound.seeds,
        "false_alarms": len(sound.accused),
    }
    (state / "prove.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return _show(console, proofs, sound)


def _shares(seeds: int, jobs: int) -> Iterator[tuple[int, int]]:
    """``seeds`` in parts: first number and count of each."""
    part = min(_SHARE, -(-seeds // jobs))
    for first in range(0, seeds, part or 1):
        yield first, min(part, seeds - first)


def _result(one: Future[Any], *others: Any) -> Any:
    try:
        return one.result()
    except BaseException:
        for group in others:
            for each in group:
                each.cancel()
        raise


class _Progress:
    """One line for each thing that is over; several threads speak."""

    def __init__(self, console: Console, seeds: int) -> None:
        self.clean = Clean()
        self._seeds = seeds
        self._console = console
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        with self._lock:
            self._console.print(text, soft_wrap=True)

    def add(self, clean: Clean) -> None:
        """More seeds of the sound server are over."""
        with self._lock:
            self.clean.add(clean)
            so_far = f"{self.clean.seeds} of {self._seeds} seeds, {many(len(self.clean.accused), 'false alarm')}"
            self._console.print(f"sound server: {so_far}", soft_wrap=True)


# One defect --------------------------------------------------------------------------------------


def _hunt(name: str, promise: str, directory: Path, efforts: tuple[str, ...], progress: _Progress) -> Proof:
    clock = RealClock()
    proof = Proof(name=name, promise=promise, broken=[], killed=False, examples=0, seconds=0.0)
    examples = 0
    for depth in efforts:
        where = directory / name / depth
        result = _judged({"defect": name, "only": promise, "depth": depth, "seed": _SEED}, where)
        proof.broken = sorted(each["id"] for each in result["promises"] if each["verdict"] == Verdict.BROKEN)
        found = _stories_until(promise, where / "runs" / "latest" / HISTORY)
        if promise in proof.broken:
            proof.killed, proof.examples = True, examples + found
            break
        examples += found
    return _ended(proof, clock, progress)


def _explore(name: str, promise: str, directory: Path, seeds: int, progress: _Progress) -> Proof:
    """Tell the stories of so many seeds, judged by this promise, up to the first that breaks it."""
    clock = RealClock()
    proof = Proof(name=name, promise=promise, broken=[], killed=False, examples=0, seconds=0.0)
    where = directory / name
    where.mkdir(parents=True)
    command = [sys.executable, "-m", "licensing_harness", "explore", "--defect", name, "--only", promise]
    command += ["--seed", str(_FIRST), "--seeds", str(seeds), "--jobs", "1", "--report", str(where)]
    # Not where the user's files are: what they say of their own target is not for us.
    done = subprocess.run(command, env=environment(), cwd=where, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode not in _JUDGED:
        _failed(f"exploring {name}", done)
    found = sorted(where.glob("runs/*/result.json"))
    if found:
        result = json.loads(found[-1].read_text(encoding="utf-8"))
        proof.broken = sorted(each["id"] for each in result["promises"] if each["verdict"] == Verdict.BROKEN)
        proof.killed = promise in proof.broken
        proof.examples = _seed_of(done.stdout) - _FIRST + 1
    return _ended(proof, clock, progress)


def _seed_of(said: str) -> int:
    """The seed in what ``explore`` said of a broken promise."""
    return next(int(line.split()[1]) for line in said.splitlines() if line.startswith("seed "))


def _ended(proof: Proof, clock: RealClock, progress: _Progress) -> Proof:
    proof.seconds = round(clock.now(), 1)
    mark = "[green]killed[/green]" if proof.killed else "[red]survived[/red]"
    progress.say(f"{proof.name}: {mark}, {proof.seconds:.0f} s")
    return proof


def _stories_until(promise: str, history: Path) -> int:
    """How many stories the scenario that broke ``promise`` first needed; all of them when none did."""
    reader = HistoryReader(history)
    capabilities = frozenset(Cap(cap) for cap in reader.header.capabilities)
    told: dict[str, int] = {}
    for story in reader:
        told[story.scenario] = told.get(story.scenario, 0) + 1
        judgement = judge_story(story, reader.contract, capabilities)
        if any(violation.promise == promise for violation in judgement.violations):
            return told[story.scenario]
    return sum(told.values())


def _clean(first: int, count: int, directory: Path, progress: _Progress) -> None:
    """Run the sound server under seeds ``first`` and following."""
    result = _judged({"seeds": count, "seed": _SEED + first, "depth": "smoke"}, directory / f"clean-{first}")
    by_verdict: dict[str, set[str]] = {}
    for each in result["promises"]:
        by_verdict.setdefault(each["verdict"], set()).add(each["id"])
    progress.add(
        Clean(
            seeds=count,
            accused=[f"{each['promise']} in {each['scenario']}" for each in result["findings"]],
            held=by_verdict.get(Verdict.HELD, set()),
            undecided=by_verdict.get(Verdict.UNDECIDED, set()),
        )
    )


def _judged(asked: dict[str, Any], report: Path) -> dict[str, Any]:
    """Run the scenarios in the simulated world; their ``result.json``. Raises HarnessError."""
    config = _settings({**asked, "world": "simulated", "report": str(report)})
    command = pytest_command(config, ["-q"], verbose=False)
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)  # noqa: S603
    path = report / "runs" / "latest" / "result.json"
    if done.returncode not in _JUDGED or not path.is_file():
        _failed(f"the run for {asked}", done)
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def _failed(what: str, done: subprocess.CompletedProcess[str]) -> NoReturn:
    said = (done.stdout + done.stderr).strip().splitlines()[-8:]
    message = f"{what} ended with exit code {done.returncode}: {' | '.join(said)}"
    raise HarnessError(message)


def _settings(values: dict[str, Any]) -> Config:
    """Only these: what the user's files say of their own target is not for us."""
    return resolve(command_line={name.replace("-", "_"): value for name, value in values.items()})


# The screen --------------------------------------------------------------------------------------


def _show(console: Console, proofs: list[Proof], sound: Clean) -> int:
    families: dict[str, list[str]] = {}
    for promise in ALL_PROMISES:
        families.setdefault(promise.family, []).append(promise.id)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("defect", "breaks", "killed"):
        table.add_column(column, no_wrap=True)
    table.add_column("examples", justify="right")
    table.add_column("seconds", justify="right")
    for family in families:
        table.add_column(family, no_wrap=True)
    for proof in proofs:
        cells = [
            "".join(each[-1] if each in proof.broken else "[dim]·[/dim]" for each in ids) for ids in families.values()
        ]
        mark = "[green]yes[/green]" if proof.killed else "[red]NO[/red]"
        found = str(proof.examples) if proof.killed else "-"
        table.add_row(proof.name, proof.promise, mark, found, f"{proof.seconds:.1f}", *cells)
    console.print(table)
    survivors = [proof.name for proof in proofs if not proof.killed]
    console.print(
        f"{len(proofs) - len(survivors)} of {len(proofs)} defects killed by their own promise", soft_wrap=True
    )
    if survivors:
        console.print(f"[red]survived:[/red] {', '.join(survivors)}", soft_wrap=True)
    if sound.seeds:
        said = (
            f"{many(len(sound.accused), 'false alarm')} in {many(sound.seeds, 'run')}, {len(sound.held)} promises held"
        )
        console.print(f"sound server: {said}", soft_wrap=True)
        for each in dict.fromkeys(sound.accused):
            console.print(f"  [red]✗[/red] {each}", soft_wrap=True)
        if sound.undecided:
            console.print(f"[yellow]never tried on it:[/yellow] {', '.join(sorted(sound.undecided))}", soft_wrap=True)
    code = Exit.BROKEN if survivors or sound.accused else Exit.UNDECIDED if sound.undecided else Exit.HELD
    console.print(f"wrote .licensing/prove.json   exit {int(code)}")
    return int(code)
