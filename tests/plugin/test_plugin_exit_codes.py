"""Exit codes: what each outcome of a run ends with, plain and under pytest-xdist."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from licensing_harness.rows import Row, Rows
from licensing_harness.verdict import RunResult, ScenarioResult, Verdict

_BAD_CLEAN_UP = """
from licensing_harness.errors import CleanUpIncomplete
from licensing_harness.worlds.simulated import SimulatedWorld

def close(self):
    raise CleanUpIncomplete("the toy's fault #7 could not be removed")

SimulatedWorld.close = close
"""

_NOT_READY = """
from licensing_harness.errors import TargetNotReady
from licensing_harness.worlds.simulated import SimulatedWorld

def story(self, **_):
    raise TargetNotReady("the toy does not answer")

SimulatedWorld.story = story
"""

plain_and_spread = pytest.mark.parametrize("n", [0, 2], ids=["plain", "n2"])


@plain_and_spread
@pytest.mark.parametrize(
    ("select", "options", "code"),
    [
        ("held", "", 0),
        ("vacuous", "", 10),
        ("raced", "?race=1", 1),
        ("raced", "", 0),
        ("rollout", "", 10),
        ("held or rollout", "", 0),
        ("held or vacuous", "", 10),
        ("vacuous or their_own", "", 1),
        ("their_own", "", 1),
        ("vacuous or raced", "?race=1", 1),
        ("nothing_of_the_kind", "", 5),
    ],
)
def test_the_worst_verdict_is_the_exit_code(toy_run: Any, select: str, options: str, code: int, n: int) -> None:
    """0 held, 1 broken, 10 undecided or nothing but not run; pytest's own failures stay 1."""
    done = toy_run("-k", select, options=options, n=n)

    assert done.code == code, done.text


@plain_and_spread
@pytest.mark.parametrize(("conftest", "code"), [(_BAD_CLEAN_UP, 14), (_NOT_READY, 12)], ids=["clean-up", "not-ready"])
def test_trouble_of_the_run_beats_a_broken_promise(
    toy_run: Any, tmp_path: Path, conftest: str, code: int, n: int
) -> None:
    """14 clean-up incomplete and 12 not ready win over 1, and the reason is said."""
    (tmp_path / "conftest.py").write_text(conftest)

    done = toy_run("-k", "raced", options="?race=1", n=n)

    assert done.code == code, done.text
    assert "the toy" in done.text


@plain_and_spread
def test_too_many_requests_end_with_the_guards_code(toy_run: Any, n: int) -> None:
    """The request cap is a guard: exit 13, and the option to raise it is named."""
    done = toy_run("-k", "held", "--licensing-max-requests=2", n=n)

    assert done.code == 13, done.text
    assert "--licensing-max-requests" in done.text


@plain_and_spread
def test_an_adapters_bug_is_the_runs_error(toy_run: Any, tmp_path: Path, n: int) -> None:
    """An adapter that fails is no finding: exit 3, with its file and line, and pytest says error."""
    (tmp_path / "buggy.py").write_text(
        "from toy import ToyAdapter\n"
        "class Buggy(ToyAdapter):\n"
        "    async def validate(self, key, machine=None):\n"
        "        return {}['no such']\n"
    )

    done = toy_run("-k", "held", "--licensing-adapter=buggy:Buggy", n=n)

    assert done.code == 3, done.text
    assert "1 error" in done.text
    assert "the adapter failed in validate(): KeyError: 'no such'" in done.text
    assert "buggy.py:4" in done.text


@plain_and_spread
def test_an_adapter_that_claims_too_much_is_refused(toy_run: Any, tmp_path: Path, n: int) -> None:
    """A claim without a method is exit 4, in one line."""
    (tmp_path / "claims.py").write_text(
        "from toy import ToyAdapter\n"
        "from licensing_harness import Cap\n"
        "class Claims(ToyAdapter):\n"
        "    capabilities = {*ToyAdapter.capabilities, Cap.TOKENS}\n"
    )

    done = toy_run("--licensing-adapter=claims:Claims", n=n)

    assert done.code == 4, done.text
    assert "licensing adapter claims:Claims: declares tokens but has no issue_token()" in done.text
    assert "Traceback" not in done.text


@plain_and_spread
def test_stopping_at_the_first_broken_promise_is_still_broken(toy_run: Any, n: int) -> None:
    """Under xdist ``-x`` ends pytest with 2; the evidence is there, so we end with 1."""
    assert toy_run("-x", "-k", "raced", options="?race=1", n=n).code == 1


@plain_and_spread
def test_an_interrupted_run_is_2(toy_run: Any, tmp_path: Path, n: int) -> None:
    """Ctrl-C keeps pytest's code; the story it came in has no end in the history, and nobody waits for it."""
    (tmp_path / "test_stop.py").write_text(
        "import pytest\n"
        "@pytest.mark.licensing(tries=('REV-001',))\n"
        "def test_stop(licensing_story):\n"
        "    licensing_story.fresh_licence()\n"
        "    raise KeyboardInterrupt\n"
    )

    done = toy_run(n=n)

    assert done.code in ({2} if n == 0 else {1, 2}), done.text
    kinds = [json.loads(line)["kind"] for line in (done.run / "history.jsonl").read_text().splitlines()]
    assert (kinds.count("story"), kinds.count("end")) == (1, 0)
    assert (done.run / "result.json").is_file(), "what was recorded until then is judged and reported"


def test_a_missing_path_and_a_broken_file_keep_pytests_codes(toy_run: Any, tmp_path: Path) -> None:
    """4 for a path that is not there, 2 for a file that can't be collected."""
    assert toy_run("nowhere").code == 4

    (tmp_path / "test_syntax.py").write_text("def")

    assert toy_run().code == 2


def test_a_known_deviation_is_no_finding(toy_run: Any, tmp_path: Path) -> None:
    """``xfail(raises=PromiseBroken)`` excuses a broken promise, and nothing else."""
    (tmp_path / "test_known.py").write_text(
        "import pytest\n"
        "from licensing_harness import PromiseBroken\n"
        "@pytest.mark.xfail(strict=True, raises=PromiseBroken, reason='LB-12, until 2027-01-01')\n"
        "@pytest.mark.licensing(tries=('SEA-001',))\n"
        "def test_known(licensing_story):\n"
        "    for _ in range(8):\n"
        "        licence = licensing_story.fresh_licence(seats=1)\n"
        "        licensing_story.contend('activate', licence)\n"
        "        licensing_story.settle()\n"
        "@pytest.mark.licensing(tries=('REV-001',))\n"
        "def test_held(licensing_story):\n"
        "    licence = licensing_story.fresh_licence()\n"
        "    licensing_story.call('laptop', 'validate', licence)\n"
        "    licensing_story.call('vendor', 'revoke', licence)\n"
        "    licensing_story.call('laptop', 'validate', licence)\n"
    )

    known = toy_run(options="?race=1")
    fixed = toy_run()

    assert (known.code, "1 xfailed" in known.text) == (0, True), known.text
    assert (fixed.code, "XPASS(strict)" in fixed.text) == (1, True), fixed.text


def _row(verdict: Verdict, **more: Any) -> Row:
    return Row(scenario="seats/test_seats.py::test_x", world="live", verdict=verdict, **more)


@pytest.mark.parametrize(
    ("verdicts", "pytest_code", "failures", "code"),
    [
        ([Verdict.HELD], 0, 0, 0),
        ([Verdict.UNDECIDED], 1, 1, 10),
        ([Verdict.UNDECIDED], 1, 2, 1),
        ([Verdict.BROKEN], 2, 1, 1),
        ([Verdict.UNDECIDED], 2, 1, 2),
        ([Verdict.NOT_RUN, Verdict.NOT_RUN], 0, 0, 10),
        ([Verdict.NOT_RUN, Verdict.HELD], 0, 0, 0),
        ([Verdict.HELD], 6, 0, 6),
    ],
)
def test_the_tally_takes_the_worst(verdicts: list[Verdict], pytest_code: int, failures: int, code: int) -> None:
    """Undecided is taken out of pytest's failures; broken beats interrupted; nothing but not run is 10."""
    rows = Rows()
    for verdict in verdicts:
        rows.add(_row(verdict), failed=verdict in {Verdict.UNDECIDED, Verdict.BROKEN})

    assert rows.exit_code(pytest_code, failures) == code


def test_tests_that_are_no_scenarios_decide_nothing() -> None:
    """A test that only borrows a fixture of ours and can't have it makes the run's code, not a verdict."""
    rows = Rows()
    rows.add(_row(Verdict.NOT_RUN, counts=False), failed=False)

    assert rows.exit_code(0, 0) == 0


def test_what_only_the_tests_know_is_added_to_the_result() -> None:
    """A scenario's own assertion, one that told no story, and the real time."""
    rows = Rows()
    rows.add(_row(Verdict.HELD, seconds=1.0), failed=False)
    rows.add(_row(Verdict.BROKEN, seconds=0.5, reason="its own assertion"), failed=True)
    rows.add(Row(scenario="x", world="live", verdict=Verdict.NOT_RUN, reason="needs 'rollout'"), failed=False)
    told = ScenarioResult(id="seats/test_seats.py::test_x", world="live", verdict=Verdict.HELD, stories=3)

    result = rows.complete(RunResult(scenarios=[told]), exit_code=1)

    first, second = result.scenarios
    assert (first.verdict, first.reason, first.stories, first.seconds) == (
        Verdict.BROKEN,
        "its own assertion",
        3,
        1.5,
    )
    assert (second.id, second.verdict, second.reason) == ("x", Verdict.NOT_RUN, "needs 'rollout'")
    assert result.exit_code == 1
