"""A whole load run in its own process, against a toy: recorded, measured, and judged like any other run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar
from urllib.request import Request, urlopen

import msgspec
import pytest
from checkin_toy import SECRET, Toy, ToyAdapter, serving

from licensing_harness.checkers.judge import judge_story
from licensing_harness.clock import RealClock
from licensing_harness.errors import GuardRefused, HarnessError, NotRun, TargetNotReady, UsageError
from licensing_harness.generate import loadrun
from licensing_harness.generate.loadrun import LoadOutcome, run_profile
from licensing_harness.history import StoryHistory
from licensing_harness.target import Adapter, Target
from licensing_harness.verdict import StoryJudgement, Verdict
from licensing_harness.vocabulary import Allowed, Answer, Cap, Grant, LicenceSpec

SECRETS = {"token": SECRET}


class BlockingToyAdapter(Adapter):
    """Speaks to the toy with a ``def`` verb and a blocking client of its own; validates only."""

    capabilities: ClassVar[set[Cap]] = {Cap.ISSUE, Cap.VALIDATE}

    def open(self, target: Target) -> None:
        self.url = target.url
        self.token = target.secret("token")

    def _ask(self, path: str, **asked: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        request = Request(self.url + path, msgspec.json.encode(asked), headers)
        with urlopen(request, timeout=2) as answer:
            return msgspec.json.decode(answer.read())

    def issue(self, spec: LicenceSpec) -> Answer:
        body = self._ask("/issue", seats=spec.seats, features=spec.features, again=spec.idempotency_key)
        return Grant(id=body["id"], key=body["key"])

    def validate(self, key: str, machine: str | None = None) -> Answer:
        return Allowed(frozenset(self._ask("/validate", key=key)["features"]))


class BuggyAdapter(ToyAdapter):
    """Has a bug of its own."""

    async def validate(self, key: str, machine: str | None = None) -> Answer:
        raise ZeroDivisionError(key)


def _run(
    url: str, directory: Path, adapter: str = "checkin_toy:ToyAdapter", *, seconds: float = 2.0, **options: Any
) -> LoadOutcome:
    return run_profile("checkin", url, adapter, directory, users=12, seconds=seconds, env=SECRETS, **options)


def _judged(stories: Iterable[StoryHistory]) -> list[StoryJudgement]:
    return [judge_story(story, ToyAdapter.contract, frozenset(ToyAdapter.capabilities)) for story in stories]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> LoadOutcome:
    """A run against a sound target."""
    directory = tmp_path_factory.mktemp("clean")
    with serving(Toy()) as url:
        return _run(url, directory, prefix="gw0-load-", scenario="load/checkin", tries=("SEA-001", "REV-001"))


def test_a_clean_run_holds_and_tries_what_it_claims(clean: LoadOutcome) -> None:
    """Seats were contended, revokes were followed, and nothing was broken."""
    judgements = _judged(clean.stories)

    assert not [violation for each in judgements for violation in each.violations]
    for promise in ("SEA-001", "REV-001", "VAL-005"):
        assert sum(each.occasions.get(promise, 0) for each in judgements)
    assert any(each.overlaps for each in judgements)


def test_stories_are_live_complete_and_named(clean: LoadOutcome) -> None:
    """They carry what they were asked to, so that they fit into a larger run."""
    assert all(story.complete and story.story.startswith("gw0-load-") for story in clean.stories)
    assert {(each.world, each.scenario, each.tries) for each in clean.stories} == {
        ("live", "load/checkin", ("SEA-001", "REV-001"))
    }
    assert len({each.seed for each in clean.stories}) == len(clean.stories)
    assert clean.result.requests == sum(len(story.operations) for story in clean.stories)


def test_the_threshold_is_held_with_its_sample_count(clean: LoadOutcome) -> None:
    """No unknown among so many, and p95 stands beside the number of samples it is made of."""
    (threshold,) = clean.thresholds

    assert clean.result.exit_code == 0
    assert (threshold["name"], threshold["verdict"], threshold["value"]) == ("unknown", "held", 0)
    assert threshold["samples"] == clean.result.requests
    assert any(line.startswith("validate") and " p95=" in line and " n=" in line for line in clean.summary)


def test_one_lane_never_has_two_calls_under_way(clean: LoadOutcome) -> None:
    """Every client's calls follow one another, also the vendor's."""
    for story in clean.stories:
        busy: dict[str, float] = {}
        for operation in story.operations:
            assert operation.begin >= busy.get(operation.client, 0)
            busy[operation.client] = operation.ended


def test_locust_stays_out_of_this_process(clean: LoadOutcome) -> None:
    """Starting a load run, and judging it, imports neither Locust nor gevent."""
    _judged(clean.stories)

    assert not {"locust", "gevent", "licensing_harness.load.run"} & set(sys.modules)


def test_a_plan_tells_the_story_again(clean: LoadOutcome) -> None:
    """It sells one licence, then starts every call in order, and settles where the devices met."""
    for story in clean.stories:
        sent = [step for step in story.plan if step["do"] in {"fresh_licence", "start", "call"}]

        assert (story.plan[0]["do"], story.plan[0]["seats"]) == ("fresh_licence", story.operations[0].asked["seats"])
        assert [step.get("verb", "issue") for step in sent] == [each.verb for each in story.operations]
        assert [step.get("client", "vendor") for step in sent] == [each.client for each in story.operations]
    assert any({"do": "settle"} in story.plan for story in clean.stories)


def test_nothing_good_is_left_behind(tmp_path: Path) -> None:
    """Every licence that was sold is revoked at the end, also those of stories under way."""
    toy = Toy()
    with serving(toy) as url:
        outcome = _run(url, tmp_path, seconds=0.5)

    assert toy.licences
    assert all(licence["revoked"] for licence in toy.licences.values())
    assert outcome.result.left == 0


def test_a_licence_that_can_not_be_revoked_is_said(tmp_path: Path) -> None:
    """Exit 14, the number of licences and their ids."""
    with serving(Toy(keeps=True)) as url:
        outcome = _run(url, tmp_path, seconds=0.5)

    assert outcome.result.exit_code == 14
    assert outcome.result.left == outcome.result.stories
    assert any("could not be revoked: toy-" in note for note in outcome.result.notes)


def test_over_booking_is_found_under_load(tmp_path: Path) -> None:
    """A target that looks for a seat and takes it without looking again is accused, by the same checker."""
    with serving(Toy(overbooks=True)) as url:
        outcome = _run(url, tmp_path, seconds=1)
    broken = {violation.promise for each in _judged(outcome.stories) for violation in each.violations}

    assert "SEA-001" in broken
    assert not broken & {"REV-001", "VAL-005"}


def test_too_many_unknowns_miss_the_threshold_and_leak_no_secret(tmp_path: Path) -> None:
    """One call in twenty answered with a 500 is 5 % unknown: exit 11, no accusation, and no key in any file."""
    toy = Toy(breaks=20)
    with serving(toy) as url:
        outcome = _run(url, tmp_path)
    written = "".join(path.read_text("utf-8") for path in (tmp_path / "load").iterdir())

    assert outcome.result.exit_code == 11
    assert outcome.result.unknown_share == pytest.approx(0.05, abs=0.01)
    assert outcome.result.thresholds[0].verdict is Verdict.BROKEN
    assert not [violation for each in _judged(outcome.stories) for violation in each.violations]
    assert '"customer"' in written
    assert SECRET not in written
    assert toy.licences
    assert not [key for key in toy.licences if key in written]


def test_a_threshold_without_samples_is_undecided(tmp_path: Path) -> None:
    """A limit on a verb that was never called says nothing: exit 10."""
    with serving(Toy()) as url:
        outcome = _run(url, tmp_path, seconds=0.5, thresholds=("p95:renew<=1000", "unknown<=0.5"))

    assert outcome.result.exit_code == 10
    assert {each["name"]: each["verdict"] for each in outcome.thresholds} == {
        "p95:renew": "undecided",
        "unknown": "held",
    }


def test_plain_verbs_run_with_a_client_of_their_own(tmp_path: Path) -> None:
    """``def`` verbs over any blocking client are driven and recorded the same."""
    with serving(Toy()) as url:
        outcome = _run(url, tmp_path, "test_load_run:BlockingToyAdapter", seconds=1)

    assert {"issue", "validate"} == {verb.verb for verb in outcome.result.verbs}
    assert outcome.result.exit_code == 0


def test_the_cap_on_requests_ends_a_run(tmp_path: Path) -> None:
    """No more calls than allowed are sent, but for those that clean up."""
    toy = Toy()
    with serving(toy) as url:
        outcome = _run(url, tmp_path, seconds=20, max_requests=50)

    assert toy.calls == outcome.result.requests
    assert 50 <= toy.calls <= 50 + outcome.result.stories
    assert outcome.result.seconds < 10


def test_a_bug_of_the_adapter_ends_the_run_and_names_its_line(tmp_path: Path) -> None:
    """Exit 3, the file and the line, and no accusation."""
    with serving(Toy()) as url, pytest.raises(HarnessError, match=r"test_load_run\.py:\d+") as caught:
        _run(url, tmp_path, "test_load_run:BuggyAdapter")

    assert type(caught.value) is HarnessError


def test_without_the_extra_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Locust a load scenario is not run, with the pip line."""
    monkeypatch.setattr(loadrun, "locust_installed", lambda: False)

    with pytest.raises(NotRun, match=r"pip install 'licensing-harness\[load\]'"):
        _run("http://127.0.0.1:9", tmp_path)


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"url": "http://127.0.0.1:1"}, TargetNotReady, "nothing answers"),
        ({"url": "http://192.0.2.1"}, GuardRefused, "allow-host 192"),
        ({"url": "licences"}, UsageError, "is no URL"),
        ({"adapter_name": "checkin_toy:Nobody"}, UsageError, "Nobody"),
        ({"adapter_name": "checkin_toy"}, UsageError, "module:Class"),
        ({"adapter_name": "checkin_toy:Toy"}, UsageError, "not a subclass"),
        ({"profile": "stampede"}, UsageError, "choose from checkin"),
        ({"users": 0}, UsageError, "1 or more"),
        ({"env": {}}, UsageError, "LICENSING_SECRET_TOKEN"),
        ({"thresholds": ("fast",)}, UsageError, "no threshold"),
    ],
)
def test_bad_input_is_one_clear_line(
    tmp_path: Path, changed: dict[str, Any], error: type[HarnessError], words: str
) -> None:
    """Each mistake is refused before a user is started, by the right error, with the way out."""
    given = {
        "profile": "checkin",
        "adapter_name": "checkin_toy:ToyAdapter",
        "directory": tmp_path,
        "users": 2,
        "seconds": 1,
        "env": SECRETS,
    }
    with serving(toy := Toy()) as url, pytest.raises(error, match=words) as caught:
        run_profile(**{**given, "url": url, **changed})

    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    assert toy.calls == 0


def test_a_terminated_run_still_reports(tmp_path: Path) -> None:
    """SIGTERM ends the users, and history and result are written: exit 2."""
    environment = {**os.environ, "LICENSING_SECRET_TOKEN": SECRET, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-m", "licensing_harness.load", "--adapter", "checkin_toy:ToyAdapter"]
    command += ["--report", str(tmp_path), "--seconds", "60", "--users", "6", "--secrets-from-env"]
    toy = Toy()
    with (
        serving(toy) as url,
        subprocess.Popen([*command, "--url", url], env=environment, stdout=subprocess.DEVNULL) as process,
    ):
        clock = RealClock()
        while toy.calls < 20 and clock.now() < 20:
            clock.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=20)
    outcome = loadrun.read_outcome(tmp_path / "load")

    assert (code, outcome.result.exit_code) == (2, 2)
    assert "SIGTERM" in outcome.result.notes[0]
    assert all(story.complete for story in outcome.stories)
    assert outcome.result.requests >= 20


def test_a_killed_run_leaves_a_history_that_can_be_judged(tmp_path: Path) -> None:
    """What was sent and never answered is read back as unknown."""
    environment = {**os.environ, "LICENSING_SECRET_TOKEN": SECRET, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-m", "licensing_harness.load", "--adapter", "checkin_toy:ToyAdapter"]
    command += ["--report", str(tmp_path), "--seconds", "60", "--users", "6", "--secrets-from-env"]
    toy = Toy()
    with (
        serving(toy) as url,
        subprocess.Popen([*command, "--url", url], env=environment, stdout=subprocess.DEVNULL) as process,
    ):
        clock = RealClock()
        while toy.calls < 60 and clock.now() < 20:
            clock.sleep(0.05)
        process.kill()
    history = loadrun.read_history(tmp_path / "load" / "history.jsonl")

    assert sum(len(story.operations) for story in history.stories.values()) >= toy.calls - 6
    assert not [violation for each in _judged(history.stories.values()) for violation in each.violations]


def test_a_report_of_a_future_version_is_refused(tmp_path: Path) -> None:
    """A result that this harness can't know is not guessed at."""
    (tmp_path / "result.json").write_text(
        '{"schema": 99, "profile": "checkin", "url": "http://x", "seed": 0, "users": 1, "seconds": 1}'
    )

    with pytest.raises(UsageError, match="schema 99"):
        loadrun.read_outcome(tmp_path)


def test_a_missing_report_is_said(tmp_path: Path) -> None:
    """A run that left nothing is an error that says where to look."""
    with pytest.raises(UsageError, match=r"output\.txt"):
        loadrun.read_outcome(tmp_path)
