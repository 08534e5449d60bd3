"""The run directory: what a run leaves behind, for people, for CI, and to be judged again.

========================  ==================================================
``result.json``           the run (``result.schema.json``); the rest derives from it
``history.jsonl``         every operation and fault, streamed while it runs
``report.html``           the run as a page, for people
``junit.xml``             for CI systems
``summary.md``            for GitHub's step summary
``cases/*.json``          one file a finding, to replay
========================  ==================================================
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from licensing_harness.clock import stamp
from licensing_harness.errors import HarnessError, UsageError
from licensing_harness.history import Header, StoryHistory, read_header
from licensing_harness.masking import Masker
from licensing_harness.report.cases import case_of
from licensing_harness.report.html import report_html
from licensing_harness.report.junit import junit
from licensing_harness.report.results import encode_result
from licensing_harness.report.stepsummary import step_summary
from licensing_harness.report.text import masked, masked_story
from licensing_harness.verdict import RunResult

RUNS: Final = Path(".licensing", "runs")
LATEST: Final = "latest"
SCHEMA_FILE: Final = Path(__file__).with_name("result.schema.json")
_CHUNK: Final = 1 << 20


class RunDirectory:
    """One run's folder. Everything written into it is masked."""

    def __init__(self, path: Path, masker: Masker | None = None) -> None:
        self.path = path
        self._masker = masker or Masker()

    @classmethod
    def create(cls, root: Path, *, wall: float, token: str, masker: Masker | None = None) -> Self:
        """A fresh folder ``<root>/<utc>-<token>``.

        ``wall`` is Unix time in seconds. Raises UsageError when it can't be made.
        """
        path = root / f"{stamp(wall)}-{token}"
        try:
            path.mkdir(parents=True)
            _hide(root)
        except OSError as error:
            raise UsageError(
                f"{path}: can't be made ({error.strerror}). Choose another folder with --licensing-report."
            ) from error
        return cls(path, masker)

    def make(self) -> None:
        """Make the folder, if need be. Raises UsageError when it can't be made."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            _hide(self.path.parent)
        except OSError as error:
            raise UsageError(
                f"{self.path}: can't be made ({error.strerror}). Choose another folder with --licensing-report."
            ) from error

    @property
    def run(self) -> str:
        """The run's id: the name of its folder."""
        return self.path.name

    @property
    def shown(self) -> str:
        """The folder as people are told of it: from where they are, if it is below."""
        here = Path.cwd()
        return str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)

    def history(self, worker: str = "") -> Path:
        """Where a process writes its history; parts of several workers are put together by ``merge``."""
        return self.path / (f"history-{worker}.jsonl" if worker else "history.jsonl")

    @property
    def recorded(self) -> bool:
        """Whether any process of the run wrote a history."""
        return next(self.path.glob("history*.jsonl"), None) is not None

    def merge(self) -> list[str]:
        """Put the workers' histories together to one; returns notes on what was dropped.

        Only a torn last line of a worker that was killed is dropped. Raises
        HarnessError when the parts are of different targets.
        """
        parts = sorted(self.path.glob("history-*.jsonl"))
        if not parts:
            return []
        notes: list[str] = []
        whole = self.history()
        try:
            headers = []
            for part in parts:
                if part.stat().st_size == 0:
                    notes.append(f"{part.name} is empty: its worker wrote nothing")
                else:
                    headers.append((part, read_header(part)))
            with whole.open("ab") as out:
                first = read_header(whole) if out.tell() else None
                for part, header in headers:
                    if first is None:
                        first = header
                        out.write(msgspec.json.encode(header) + b"\n")
                    elif _differs(first, header):
                        raise HarnessError(f"{part}: this worker judged another target than {whole} says")
                    dropped = _append(out, part)
                    if dropped:
                        notes.append(f"{part.name}: its last line was cut ({dropped} bytes) and is not judged")
            for part in parts:
                part.unlink()
        except OSError as error:
            raise self._failed(whole, error) from error
        return notes

    def write(
        self,
        result: RunResult,
        header: Header,
        cases: Mapping[str, StoryHistory],
        drill: StoryHistory | None = None,
    ) -> RunResult:
        """Write every report but the history; returns the masked result they show. ``drill`` is a drill's story."""
        shown = masked(result, self._masker)
        self._put("result.json", encode_result(shown))
        self._put("junit.xml", junit(shown))
        self._put("summary.md", step_summary(shown))
        for found in result.findings:
            if found.case in cases:
                case = case_of(found, cases[found.case], header)
                self._put(f"cases/{found.case}.json", msgspec.json.format(msgspec.json.encode(case), indent=1).decode())
        stories = {
            each.case: masked_story(cases[each.case], self._masker) for each in result.findings if each.case in cases
        }
        told = None if drill is None else masked_story(drill, self._masker)
        self._put("report.html", report_html(shown, stories, told))
        return shown

    def point_latest(self) -> None:
        """Make ``latest`` beside this folder mean this run; for gate runs only."""
        latest = self.path.parent / LATEST
        fresh = self.path.parent / f".{LATEST}-{self.run}"
        try:
            fresh.symlink_to(self.path.name, target_is_directory=True)
            fresh.replace(latest)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise self._failed(latest, error) from error

    def _put(self, name: str, text: str) -> None:
        """Write a file whole or not at all, masked once more: what is not in the result is in the story."""
        path = self.path / name
        half = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(exist_ok=True)
            half.write_text(self._masker.mask(text), encoding="utf-8")
            half.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                half.unlink()
            raise self._failed(path, error) from error

    def _failed(self, path: Path, error: OSError) -> HarnessError:
        return HarnessError(
            f"{path}: can't be written ({error.strerror}). Free space, or choose another folder with "
            "--licensing-report; the history can be judged again with licensing-harness check."
        )


def _hide(root: Path) -> None:
    """Keep a folder of the usual name out of the user's commits."""
    if root.parent.name == RUNS.parent.name and not (root.parent / ".gitignore").exists():
        (root.parent / ".gitignore").write_text("*\n", encoding="utf-8")


def _differs(one: Header, two: Header) -> bool:
    def told(header: Header) -> tuple[Any, ...]:
        return header.schema, header.target, sorted(header.capabilities), header.contract

    return told(one) != told(two)


def _append(out: Any, part: Path) -> int:
    """Copy a history without its header and without a torn last line; returns how many bytes were dropped."""
    with part.open("rb") as source:
        source.readline()
        start = source.tell()
        end = _end_of_last_line(source, start)
        size = source.seek(0, os.SEEK_END)
        source.seek(start)
        left = end - start
        while left > 0:
            chunk = source.read(min(_CHUNK, left))
            out.write(chunk)
            left -= len(chunk)
    return size - end


def _end_of_last_line(source: Any, start: int) -> int:
    """Where the last whole line ends, looking back from the end of the file."""
    at = source.seek(0, os.SEEK_END)
    while at > start:
        begin = max(start, at - _CHUNK)
        source.seek(begin)
        newline = source.read(at - begin).rfind(b"\n")
        if newline >= 0:
            return int(begin + newline + 1)
        at = begin
    return start
