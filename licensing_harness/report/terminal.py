"""The run on one screen."""

from __future__ import annotations

import io
import shutil
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rich.console import Console
from rich.text import Text

from licensing_harness.masking import Masker
from licensing_harness.report.text import (
    clarity,
    clean,
    grouped,
    many,
    masked,
    meaning,
    promise_reasons,
    ranges,
    replay_command,
    scenario_reasons,
    short,
)
from licensing_harness.verdict import Finding, RunResult, Verdict

_ORDER: Final = (Verdict.HELD, Verdict.BROKEN, Verdict.UNDECIDED, Verdict.NOT_RUN)
_STYLES: Final = {
    Verdict.HELD: "green",
    Verdict.BROKEN: "bold red",
    Verdict.UNDECIDED: "yellow",
    Verdict.NOT_RUN: "dim",
}
_BAR: Final = 19
_FINDINGS: Final = 5
"""Broken promises that fit on one screen; the others are in the report."""
_RECORDS: Final = 4
_NARROWEST: Final = 60


@dataclass(frozen=True, slots=True)
class _Glyphs:
    """A verdict is told by shape as well as by colour."""

    bar: dict[Verdict, str]
    broken: str
    undecided: str


_UNICODE: Final = _Glyphs(
    bar={Verdict.HELD: "█", Verdict.BROKEN: "▓", Verdict.UNDECIDED: "▒", Verdict.NOT_RUN: "░"},
    broken="✗",
    undecided="?",
)
_ASCII: Final = _Glyphs(
    bar={Verdict.HELD: "#", Verdict.BROKEN: "x", Verdict.UNDECIDED: "?", Verdict.NOT_RUN: "-"},
    broken="x",
    undecided="?",
)


def _glyphs(encoding: str) -> _Glyphs:
    try:
        "".join([*_UNICODE.bar.values(), _UNICODE.broken]).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return _ASCII
    return _UNICODE


def columns() -> int:
    """The width of the screen; a hundred columns where there is none."""
    return shutil.get_terminal_size((100, 24)).columns


def print_result(console: Console, result: RunResult, *, report: str = "", masker: Masker | None = None) -> None:
    """Print the run: verdict first, then what broke, what was not decided, what was not run and why."""
    screen = _Screen(console)
    screen.show(masked(result, masker or Masker()), report)


class _Screen:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._glyphs = _glyphs(console.encoding)
        self._width = max(_NARROWEST, console.width)

    def show(self, result: RunResult, report: str) -> None:
        self._head(result)
        broken: dict[str, list[Finding]] = {}
        for each in result.findings:
            broken.setdefault(each.promise, []).append(each)
        for found in list(broken.values())[:_FINDINGS]:
            self._promise(found)
        if len(broken) > _FINDINGS:
            self._line(f"     and {many(len(broken) - _FINDINGS, 'more broken promise')} in the report", "dim")
        self._undecided(result)
        self._not_run(result)
        for text in result.errors:
            self._wrapped(" error  ", text, "bold red")
        for text in result.notes:
            self._wrapped(" note  ", text, "yellow")
        style = _STYLES[result.verdict]
        where = f"{report}      " if report else ""
        line = Text(f"  report     {where}" if report else "  ")
        line.append(f"exit {result.exit_code}", style)
        line.append(f"  {meaning(result)}")
        self._print(line)

    def _head(self, result: RunResult) -> None:
        about = [f"licensing-harness {result.harness}", result.target]
        about += [f"depth {result.depth}"] if result.depth else []
        about += [f"seed {result.seed}", f"{result.seconds:.1f}s"]
        self._line("  ".join(each for each in about if each), "bold")
        counts = Counter(each.verdict for each in result.promises)
        line = Text("  promises   ")
        for verdict, cells in _share(counts, _BAR).items():
            line.append(self._glyphs.bar[verdict] * cells, _STYLES[verdict])
        line.append("  ")
        for verdict in _ORDER:
            line.append(f"{counts[verdict]} {verdict.value}", _STYLES[verdict] if counts[verdict] else "dim")
            line.append("  " if verdict is not _ORDER[-1] else "")
        self._print(line)
        for name, world in result.worlds.items():
            told = [
                many(world.get("stories", 0), "story", "stories"),
                f"{many(world.get('operations', 0), 'operation')} ({world.get('unknown', 0):,} unknown)",
                many(world.get("overlaps", 0), "overlapping pair"),
            ]
            self._line(f"  {name:<10} {', '.join(told)}", "")
        if result.faults:
            told = [f"{kind} {count.get('met', 0)}/{count.get('set', 0)}" for kind, count in result.faults.items()]
            self._wrapped("  faults     ", "met/set: " + ", ".join(told), "")

    def _promise(self, found: list[Finding]) -> None:
        """One promise: its clearest finding, and where else it was broken."""
        clearest = min(found, key=clarity)
        self._finding(clearest)
        places = Counter(f"{each.scenario.partition('::')[0]} [{each.world}]" for each in found if each is not clearest)
        if places:
            told = ", ".join(f"{place} {count}" if count > 1 else place for place, count in places.items())
            self._wrapped("     also in   ", f"{many(sum(places.values()), 'finding')} more: {told}", "dim")

    def _finding(self, each: Finding) -> None:
        line = Text(f" {self._glyphs.broken} {each.promise} ", _STYLES[Verdict.BROKEN])
        line.append(each.sentence, "bold")
        line.append(f"   {each.scenario} [{each.world}]" + (f", {each.times} times" if each.times > 1 else ""))
        self._print(line)
        self._wrapped("     expected  ", each.expected, "")
        self._wrapped("     observed  ", each.observed, "")
        more = f"   and {len(each.evidence) - _RECORDS} more" if len(each.evidence) > _RECORDS else ""
        self._wrapped("     evidence  ", "   ".join(map(short, each.evidence[:_RECORDS])) + more, "")
        if each.control:
            self._wrapped("     control   ", "   ".join(map(short, each.control[:_RECORDS])), "")
        self._wrapped("     replay    ", replay_command(each.case), "cyan")

    def _undecided(self, result: RunResult) -> None:
        for each in result.promises:
            if each.verdict is Verdict.UNDECIDED:
                self._wrapped(f" {self._glyphs.undecided} {each.id} ", f"undecided: {each.reason}", "yellow")
        told = " ".join(each.reason for each in result.promises)
        untold = {
            name: reason for name, reason in scenario_reasons(result, Verdict.UNDECIDED).items() if name not in told
        }
        for reason, names in grouped(untold).items():
            self._wrapped(f" {self._glyphs.undecided} ", f"{_first(names)} undecided: {reason}", "yellow")

    def _not_run(self, result: RunResult) -> None:
        for reason, ids in grouped(promise_reasons(result, Verdict.NOT_RUN)).items():
            self._wrapped(" not run: ", f"{ranges(ids)} ({reason})", "dim")
        for reason, names in grouped(scenario_reasons(result, Verdict.NOT_RUN)).items():
            self._wrapped(" not run: ", f"{_first(names)} ({reason})", "dim")

    def _wrapped(self, label: str, text: str, style: str) -> None:
        """A label and a text that goes on below itself."""
        lines = textwrap.wrap(text, self._width - len(label), break_on_hyphens=False) or [""]
        for number, line in enumerate(lines):
            self._line((label if number == 0 else " " * len(label)) + line, style)

    def _line(self, text: str, style: str) -> None:
        self._print(Text(text, style))

    def _print(self, text: Text) -> None:
        encoding = self._console.encoding
        plain = clean(text.plain).encode(encoding, "replace").decode(encoding)
        if plain != text.plain:
            text.plain = plain
        self._console.print(text, soft_wrap=True, highlight=False, markup=False)


def _first(names: Sequence[str]) -> str:
    """Scenarios that share a reason, on one line."""
    return names[0] if len(names) == 1 else f"{len(names)} scenarios, {names[0]} first"


def _share(counts: Counter[Verdict], width: int) -> dict[Verdict, int]:
    """A bar of ``width`` cells shared out by counts; whatever there is gets one cell at least."""
    total = sum(counts.values())
    if not total:
        return {Verdict.NOT_RUN: width}
    present = [verdict for verdict in _ORDER if counts[verdict]]
    cells = {verdict: max(1, counts[verdict] * width // total) for verdict in present}
    largest = max(present, key=lambda verdict: cells[verdict])
    cells[largest] += width - sum(cells.values())
    return cells


def screen(
    result: RunResult,
    *,
    width: int = 100,
    encoding: str = "utf-8",
    report: str = "",
    masker: Masker | None = None,
    colour: bool = False,
) -> list[str]:
    """The same screen as lines, for a terminal that is not ours (pytest's own summary)."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    system: Literal["standard"] | None = "standard" if colour else None
    console = Console(width=width, color_system=system, force_terminal=colour, file=file)
    with console.capture() as captured:
        print_result(console, result, report=report, masker=masker)
    file.close()
    return captured.get().splitlines()
