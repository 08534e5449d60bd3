"""The run directory: complete, masked, valid, whole or not at all."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import msgspec
import pytest
from conftest import Run  # type: ignore[import-not-found]

from licensing_harness.checkers.tally import judge_file
from licensing_harness.errors import HarnessError, UsageError
from licensing_harness.history import Header, HistoryWriter, lines_of, read_history
from licensing_harness.masking import Masker
from licensing_harness.report.cases import read_case
from licensing_harness.report.directory import SCHEMA_FILE, RunDirectory
from licensing_harness.report.junit import junit
from licensing_harness.report.results import read_result
from licensing_harness.report.stepsummary import LIMIT, step_summary
from licensing_harness.report.text import masked
from licensing_harness.verdict import RESULT_SCHEMA, Finding, RunResult, Verdict

WALL = 1_795_573_859.0
SCHEMA = json.loads(SCHEMA_FILE.read_text())


@pytest.fixture
def written(run: Run, tmp_path: Path) -> RunDirectory:
    folder = RunDirectory.create(tmp_path / ".licensing" / "runs", wall=WALL, token="abc123", masker=run.masker)
    with HistoryWriter(folder.history(), run.header, run.masker) as writer:
        for story in run.tally.cases.values():
            writer.write(*lines_of(story))
    folder.write(run.result, run.header, run.tally.cases)
    return folder


def test_run_directory_holds_everything(written: RunDirectory, run: Run) -> None:
    """Named by time and token; nothing half written is left."""
    assert written.run.endswith("Z-abc123")
    assert sorted(str(each.relative_to(written.path)) for each in written.path.rglob("*")) == [
        "cases",
        f"cases/{run.result.findings[0].case}.json",
        "history.jsonl",
        "junit.xml",
        "report.html",
        "result.json",
        "summary.md",
    ]
    assert (written.path.parent.parent / ".gitignore").read_text() == "*\n"


def test_planted_secret_is_masked_in_every_file(written: RunDirectory, secret: str) -> None:
    """The key stands in target, scenario, plan, answers, reasons, faults, errors and notes of this run."""
    files = [each for each in written.path.rglob("*") if each.is_file()]

    assert len(files) == 6
    for file in files:
        text = file.read_text()
        assert secret not in text, file
        assert "[masked:" in text, file


def test_planted_secret_shows_without_the_masker(run: Run, tmp_path: Path, secret: str) -> None:
    """The test above can go red: unregistered, the same key is in every file."""
    folder = RunDirectory.create(tmp_path, wall=WALL, token="bare", masker=Masker())
    folder.write(run.result, run.header, run.tally.cases)

    assert all(secret in each.read_text() for each in folder.path.rglob("*") if each.is_file())


def test_result_json_keeps_its_schema(written: RunDirectory) -> None:
    """The shipped JSON Schema, draft 2020-12, accepts it."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    jsonschema.validate(json.loads((written.path / "result.json").read_text()), SCHEMA)


def test_schema_knows_every_member(run: Run) -> None:
    """A member that is added, left out or of another kind is seen: schema and dataclasses change together."""
    good = msgspec.to_builtins(run.result)
    for spoil in (
        lambda each: each.update(extra=1),
        lambda each: each.pop("verdict"),
        lambda each: each["promises"][0].update(verdict="passed"),
        lambda each: each["findings"][0]["evidence"][0].pop("outcome"),
        lambda each: each.update(schema=RESULT_SCHEMA + 1),
        lambda each: each["matrix"].append({"fault": "crash"}),
        lambda each: each["matrix"][0].update(reason=None),
        lambda each: each["drill"].update(phases=[{"phase": "later"}]),
    ):
        bad = json.loads(json.dumps(good))
        spoil(bad)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, SCHEMA)
    jsonschema.validate(json.loads(msgspec.json.encode(RunResult())), SCHEMA)


def test_result_is_read_back(written: RunDirectory, run: Run) -> None:
    """As it was masked."""
    assert read_result(written.path / "result.json") == masked(run.result, run.masker)


@pytest.mark.parametrize("read", [read_result, read_case])
def test_unreadable_results_and_cases_are_refused_with_the_way_out(read: Any, tmp_path: Path) -> None:
    """Missing, no JSON, another JSON, a later version."""
    path = tmp_path / "file.json"
    with pytest.raises(UsageError, match="can't be read"):
        read(path)
    for content in ("", "{", "[]", '{"a": 1}', '{"schema": 1, "case": 5, "run": 5}'):
        path.write_text(content)
        with pytest.raises(UsageError, match="not a"):
            read(path)
    path.write_text('{"schema": 99}')
    with pytest.raises(UsageError, match="Upgrade licensing-harness"):
        read(path)


def test_case_has_all_that_a_replay_needs(written: RunDirectory, run: Run) -> None:
    """Target, seed, plan, and the records of the story."""
    (found,) = run.result.findings

    case = read_case(written.path / "cases" / f"{found.case}.json")

    assert (case.promise, case.world, case.seed) == ("SEA-001", "simulated", "7/1")
    assert case.target == run.masker.mask(run.header.target)
    assert case.evidence == [2, 3]
    assert case.control == [3, 4]
    assert case.plan[0]["do"] == "call"
    assert [type(each).__name__ for each in case.history].count("Operation") == 5
    assert case.contract == {"revocation_bound": 0.0, "lease": 2.0}


def test_stored_history_of_the_run_has_its_verdict(written: RunDirectory, run: Run) -> None:
    """Masking changes no verdict."""
    again = judge_file(written.history()).result()

    assert [(each.id, each.verdict) for each in again.promises] == [
        (each.id, each.verdict) for each in run.result.promises
    ]


def test_junit_counts_undecided_as_failure_and_not_run_as_skipped(written: RunDirectory, run: Run) -> None:
    """Well-formed although an answer contained control characters; times are numbers."""
    root = ET.fromstring((written.path / "junit.xml").read_text())
    suites = {each.get("name"): each for each in root}
    by_verdict = {verdict: sum(1 for each in run.result.promises if each.verdict is verdict) for verdict in Verdict}

    promises = suites["promises"]
    assert int(promises.get("tests", "")) == len(run.result.promises)
    assert int(promises.get("failures", "")) == by_verdict[Verdict.BROKEN] + by_verdict[Verdict.UNDECIDED]
    assert int(promises.get("skipped", "")) == by_verdict[Verdict.NOT_RUN]
    kinds = {each.get("type") for each in promises.iter("failure")}
    assert kinds == {"PromiseBroken", "Undecided"}
    assert "expected  this activation refused" in "".join(each.text or "" for each in promises.iter("failure"))
    (skipped,) = suites["scenarios [live]"].iter("skipped")
    assert skipped.get("message", "").startswith("not run: needs a clock")
    assert suites["run"].get("errors") == "1"
    assert root.get("tests") == str(sum(int(each.get("tests", "")) for each in root))


def test_junit_survives_what_xml_can_not_say() -> None:
    """Control characters, surrogates and markup in texts of others."""
    result = RunResult(errors=["\x00\x1b[31m <b>&amp;</b> \ud800 ]]>"])

    assert "<b>&amp;</b>" in "".join(ET.fromstring(junit(result)).itertext())


def test_step_summary_says_what_broke_and_what_was_not_run(written: RunDirectory) -> None:
    """Verdict first."""
    text = (written.path / "summary.md").read_text()

    assert text.startswith("## licensing-harness: broken (exit 1)\n")
    for part in ("### Broken", "SEA-001 never more holders", "### Undecided", "- REV-001: ", "### Not run", "AUD-001"):
        assert part in text


def test_step_summary_shows_markup_of_others_as_text() -> None:
    """No HTML, no table cell, no fence gets out of its place."""
    found = Finding(
        promise="SEA-001",
        sentence="s",
        scenario="a|b<img src=x>",
        world="live",
        story="s1",
        expected="```\n<script>",
        observed="o",
        evidence=[],
        case="SEA-001-0000",
    )
    text = step_summary(RunResult(findings=[found], errors=["<b>|x|</b>"], target="`a`"))

    assert "**a\\|b\\<img src=x\\>**" in text
    assert "\\<b\\>\\|x\\|\\</b\\>" in text
    assert "````text" in text
    assert "Target `'a'`" in text


def test_step_summary_stays_under_a_mebibyte() -> None:
    """A larger one is dropped whole by its reader; the end says that something is missing."""
    found = Finding(
        promise="SEA-001",
        sentence="s" * 500,
        scenario="ünïcode " * 50,
        world="live",
        story="s1",
        expected="e" * 900,
        observed="o" * 900,
        evidence=[],
        case="SEA-001-0000",
    )
    text = step_summary(RunResult(findings=[found] * 2000))

    assert len(text.encode()) <= LIMIT < 1 << 20
    assert text.endswith("The rest was left out: it is in result.json.\n")
    assert text.count("```") % 2 == 0


def test_latest_follows_only_when_it_is_told_to(written: RunDirectory, tmp_path: Path) -> None:
    """A second run moves it; check, replay and prove leave it alone."""
    latest = written.path.parent / "latest"
    assert not latest.exists()

    written.point_latest()
    assert latest.resolve() == written.path.resolve()
    other = RunDirectory.create(written.path.parent, wall=WALL, token="def456")
    assert latest.resolve() == written.path.resolve()
    other.point_latest()

    assert latest.resolve() == other.path.resolve()
    assert not latest.readlink().is_absolute()


def test_latest_that_is_a_real_folder_is_an_error(written: RunDirectory) -> None:
    """It is not ours to remove."""
    (written.path.parent / "latest").mkdir()
    (written.path.parent / "latest" / "keep").touch()

    with pytest.raises(HarnessError, match="latest: can't be written"):
        written.point_latest()

    assert [each.name for each in written.path.parent.glob(".latest*")] == []


def test_folder_that_can_not_be_made_is_a_usage_error(tmp_path: Path) -> None:
    """The parent is a file, or the run exists already."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="Choose another folder with --licensing-report"):
        RunDirectory.create(tmp_path / "file", wall=WALL, token="t")
    RunDirectory.create(tmp_path, wall=WALL, token="t")
    with pytest.raises(UsageError, match="File exists"):
        RunDirectory.create(tmp_path, wall=WALL, token="t")


def test_full_disk_leaves_nothing_half_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says so, and that the history can be judged again."""
    folder = RunDirectory.create(tmp_path, wall=WALL, token="t")

    def full(path: Path, *_: object, **__: object) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(HarnessError, match=r"No space left on device.*judged again"):
        folder.write(run.result, run.header, run.tally.cases)

    assert list(folder.path.iterdir()) == []


# Histories of several workers


def part(folder: RunDirectory, run: Run, worker: str, header: Header | None = None) -> Path:
    path = folder.history(worker)
    with HistoryWriter(path, header or run.header) as writer:
        for story in run.tally.cases.values():
            story.story = f"{worker}-s1"
            for record in lines_of(story):
                writer.write(msgspec.structs.replace(record, story=story.story))
    return path


def test_histories_of_workers_become_one(run: Run, tmp_path: Path) -> None:
    """One header, all stories, no parts left."""
    folder = RunDirectory.create(tmp_path, wall=WALL, token="t")
    for worker in ("gw0", "gw1"):
        part(folder, run, worker)

    assert folder.merge() == []
    assert folder.merge() == []

    history = read_history(folder.history())
    assert list(history.stories) == ["gw0-s1", "gw1-s1"]
    assert [each.name for each in folder.path.iterdir()] == ["history.jsonl"]


def test_torn_line_of_a_killed_worker_is_dropped_and_noted(run: Run, tmp_path: Path) -> None:
    """It would stand in the middle of the whole."""
    folder = RunDirectory.create(tmp_path, wall=WALL, token="t")
    killed = part(folder, run, "gw0")
    killed.write_bytes(killed.read_bytes()[:-5])
    part(folder, run, "gw1")
    folder.history("gw2").touch()

    notes = folder.merge()

    assert notes[0] == "history-gw2.jsonl is empty: its worker wrote nothing"
    assert notes[1].startswith("history-gw0.jsonl: its last line was cut")
    history = read_history(folder.history())
    assert [(each.story, each.complete) for each in history.stories.values()] == [("gw1-s1", True), ("gw0-s1", False)]


def test_workers_that_judged_different_targets_are_an_error(run: Run, tmp_path: Path) -> None:
    """Two runs in one are none."""
    folder = RunDirectory.create(tmp_path, wall=WALL, token="t")
    part(folder, run, "gw0")
    part(folder, run, "gw1", Header(target="another"))

    with pytest.raises(HarnessError, match="another target"):
        folder.merge()
