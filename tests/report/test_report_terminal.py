"""The screen."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from conftest import Run  # type: ignore[import-not-found]
from rich.console import Console

from licensing_harness.report.terminal import print_result, screen
from licensing_harness.verdict import RunResult, ScenarioResult, Verdict


def test_screen_says_everything_in_one_page(run: Run) -> None:
    """Verdict, what broke and how to see it again, what is undecided, what was not run, where the report is."""
    lines = screen(run.result, width=100, report=".licensing/runs/latest", masker=run.masker)
    text = "\n".join(lines)

    assert len(lines) <= 40
    for part in (
        "licensing-harness 0.1.0  http://127.0.0.1:1/?key=[masked:",
        "  promises   ",
        "1 broken",
        "1 undecided",
        "simulated  1 story, 5 operations (1 unknown), 1 overlapping pair",
        "met/set: cut-answer 1/1",
        " ✗ SEA-001 never more holders than seats",
        "     expected  this activation refused: no free seat",
        "     observed  accepted; 2 devices hold 1 seat",
        "     evidence  #2 0.020s laptop activate accepted   #3 0.030s phone activate accepted",
        "     control   #3 0.030s phone activate accepted   #4 0.070s tablet activate refused (no-free-seat)",
        f"     replay    licensing-harness replay {run.result.findings[0].case}",
        " ? REV-001 undecided: ",
        " not run: AUD-001..005, IDM-002 (needs 'audit': not applicable: kept elsewhere",
        "offline/test_offline.py::test_month [live] (needs a clock",
        " error  an error that names [masked:",
        " note  a note that names [masked:",
        "  report     .licensing/runs/latest      exit 1  the target broke a promise",
    ):
        assert part in text, part


def test_screen_shows_no_secret(run: Run, secret: str) -> None:
    """The planted key is masked; without the masker it would be there."""
    assert secret not in "\n".join(screen(run.result, masker=run.masker))
    assert secret in "\n".join(screen(run.result, width=500))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "no-such-encoding"])
def test_screen_falls_back_to_ascii(run: Run, encoding: str) -> None:
    """A terminal that can't show the shapes gets others, and no traceback."""
    if encoding == "no-such-encoding":
        lines = screen(run.result, encoding="ascii")
    else:
        lines = screen(run.result, encoding=encoding)
    text = "\n".join(lines)

    text.encode("ascii")
    assert " x SEA-001" in text
    assert "#" in next(line for line in lines if "promises" in line)


def test_lines_fit_the_width(run: Run) -> None:
    """Long texts go on below themselves."""
    for width in (80, 120):
        lines = screen(run.result, width=width, masker=run.masker)

        assert all(len(line) <= width for line in lines if not line.startswith((" ✗", "licensing")))


def test_undecided_scenarios_with_long_names_are_told_once_a_reason(run: Run) -> None:
    """However long the names are, and however many share a reason, the screen stays one."""
    name = "validity/test_validity_of_everything.py::test_validity_" + "of_what_was_acknowledged_" * 4
    run.result.scenarios = [
        ScenarioResult(id=f"{name}[{number}]", world="live", verdict=Verdict.UNDECIDED, reason="the disk is full")
        for number in range(16)
    ]

    text = "".join("".join(screen(run.result, width=80)).split())

    assert text.count("thediskisfull") == 1
    assert f"?16scenarios,{name}[0][live]firstundecided:thediskisfull" in text


def test_colours_only_where_the_terminal_has_them(run: Run) -> None:
    """Shape tells the verdict as well."""
    file = io.StringIO()
    print_result(Console(file=file, force_terminal=True, color_system="standard", width=100), run.result)
    assert "\x1b[" in file.getvalue().replace("\x1b[31m &", "")

    plain = io.StringIO()
    print_result(Console(file=plain, width=100), RunResult())
    assert "\x1b[" not in plain.getvalue()
    assert "exit 10  not everything that was tried could be decided" in plain.getvalue()


def test_a_promise_is_told_once_by_its_clearest_finding(run: Run) -> None:
    """The one with its control, that repeats; where else it was broken is counted."""
    (found,) = run.result.findings
    elsewhere = replace(found, scenario="load/test_load.py::test_load", world="live", control=[], case="SEA-001-ffff")
    run.result.findings = [elsewhere, elsewhere, found]

    text = "\n".join(screen(run.result))

    assert text.count("✗ SEA-001") == 1
    assert f"replay {found.case}" in text
    assert "also in   2 findings more: load/test_load.py [live] 2" in text


def test_many_broken_promises_are_counted_not_listed(run: Run) -> None:
    """Five of them stand on the screen, the others in the report."""
    (found,) = run.result.findings
    run.result.findings = [replace(found, promise=f"SEA-{number:03}") for number in range(1, 9)]

    text = "\n".join(screen(run.result))

    assert text.count("✗ SEA-") == 5
    assert "and 3 more broken promises in the report" in text


def test_bar_shows_every_verdict_that_there_is(run: Run) -> None:
    """One broken promise of many is still a cell of its own."""
    for each in run.result.promises[1:]:
        each.verdict = Verdict.HELD
    run.result.promises[0].verdict = Verdict.BROKEN
    bar = next(line for line in screen(run.result) if line.startswith("  promises"))

    assert bar.count("▓") == 1
    assert bar.count("█") == 18


def test_control_characters_of_others_do_not_reach_the_terminal(run: Run) -> None:
    """A target's answer can't paint the screen."""
    run.result.notes = ["evil \x1b[31mred\x07 \x9b31m"]

    text = "\n".join(screen(run.result))

    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "\x07" not in text
