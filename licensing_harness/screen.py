"""What ``gate`` shows while pytest runs: a line a family, instead of pytest's own progress.

On a terminal the family under way is rewritten in place; elsewhere each family
is one line when it is over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

import pytest

from licensing_harness.clock import RealClock
from licensing_harness.verdict import Verdict

_ORDER: Final = (Verdict.HELD, Verdict.BROKEN, Verdict.UNDECIDED, Verdict.NOT_RUN)
_COLOURS: Final[Mapping[Verdict, str]] = {
    Verdict.HELD: "green",
    Verdict.BROKEN: "red",
    Verdict.UNDECIDED: "yellow",
    Verdict.NOT_RUN: "light",
}
_PATIENCE: Final = 2.0
"""Seconds after which something must have moved on the screen."""


class _Family:
    """The tests of one family: how many there are, if that is known, and how they ended."""

    def __init__(self) -> None:
        self.total = 0
        self.seconds = 0.0
        self.ended = 0
        self.verdicts: Counter[Verdict] = Counter()


class Screen:
    """A pytest plugin, registered by the gate's ``--licensing-screen``."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._families: dict[str, _Family] = {}
        self._clock = RealClock()
        self._spoke = 0.0
        self._details: list[str] = []
        """What is neither a promise nor an error of the run: failed assertions, files that can't be collected."""

    @property
    def _out(self) -> pytest.TerminalReporter | None:
        reporter: pytest.TerminalReporter | None = self._config.pluginmanager.get_plugin("terminalreporter")
        return reporter

    @property
    def _rewrites(self) -> bool:
        return self._out is not None and bool(self._out.isatty)

    # What pytest tells -----------------------------------------------------------------------

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that can't be collected is shown at the end."""
        if report.failed:
            self._details.append(f"{report.nodeid} can't be collected:\n{report.longreprtext}")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the tests of each family; a controller of pytest-xdist collects none."""
        for item in session.items:
            self._family(item.nodeid).total += 1

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """No letters: keep pytest's counts, show nothing."""
        if not report.failed and report.when != "call" and not report.skipped:
            return None
        return report.outcome, "", ""

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Show which test is under way."""
        name, family = _name(nodeid), self._family(nodeid)
        if self._rewrites and self._out is not None:
            self._out.rewrite(f"  {name:<12} {self._so_far(family)}  {nodeid.rpartition('::')[2]}"[:118], erase=True)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a verdict, and keep what no verdict explains."""
        row = getattr(report, "licensing", None)
        family = self._family(report.nodeid)
        family.seconds += report.duration
        if row is not None and row["counts"]:
            family.verdicts[Verdict(row["verdict"])] += 1
        if report.failed and (row is None or row["own"]):
            self._details.append(f"{report.nodeid}:\n{report.longreprtext}")

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """A family that is over has its line."""
        family = self._family(nodeid)
        family.ended += 1
        if family.total and family.ended == family.total:
            self._over(_name(nodeid), family)
        elif not family.total and not self._rewrites and self._clock.now() - self._spoke > _PATIENCE * 5:
            self._say(f"  {sum(each.ended for each in self._families.values())} tests are over")

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Families whose size was not known, then what needs more than a line."""
        if self._rewrites:
            terminalreporter.rewrite("", erase=True)
        for name, family in self._families.items():
            if family.ended and family.ended != family.total:
                self._over(name, family)
        for detail in self._details:
            terminalreporter.write_line(detail)

    # Lines -----------------------------------------------------------------------------------

    def _family(self, nodeid: str) -> _Family:
        return self._families.setdefault(_name(nodeid), _Family())

    def _so_far(self, family: _Family) -> str:
        return f"{family.ended + 1}/{family.total}" if family.total else f"{family.ended + 1}"

    def _over(self, name: str, family: _Family) -> None:
        out = self._out
        if out is None:
            return
        if self._rewrites:
            out.rewrite("", erase=True)
        out.write(f"  {name:<12}")
        for verdict in _ORDER:
            if family.verdicts[verdict]:
                out.write(f"  {family.verdicts[verdict]} {verdict.value}", **{_COLOURS[verdict]: True})
        out.write_line(f"  {family.seconds:.1f} s")
        self._spoke = self._clock.now()

    def _say(self, text: str) -> None:
        if self._out is not None:
            self._out.write_line(text)
            self._spoke = self._clock.now()


def _name(nodeid: str) -> str:
    """``seats`` of ``scenarios/seats/test_seats.py::test_x[live]``."""
    return PurePosixPath(nodeid.partition("::")[0]).parent.name or "tests"
