"""What the plugin does in a run: worlds, reasons, selection, settings, fixtures, records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def test_a_test_runs_once_in_each_world_and_says_why_it_can_not(toy_run: Any) -> None:
    """Both worlds asked for: the live one is not run, with the reason, in pytest's own skip summary."""
    done = toy_run("-rs", "-k", "held or rollout", "--licensing-world=both")

    assert done.code == 0, done.text
    assert "1 passed, 3 skipped" in done.text
    assert "licensing: the live world needs a URL; this target is asgi:" in done.text
    assert "licensing: needs 'rollout': not declared by ToyAdapter" in done.text


def test_not_applicable_is_another_reason_than_not_declared(toy_run: Any, tmp_path: Path) -> None:
    """An adapter's own words for what its target does not have are the reason of the skip."""
    (tmp_path / "apart.py").write_text(
        "from toy import ToyAdapter\n"
        "from licensing_harness import Cap\n"
        "class Apart(ToyAdapter):\n"
        "    not_applicable = {Cap.ROLLOUT: 'flags live in another product'}\n"
    )

    done = toy_run("-rs", "-k", "rollout", "--licensing-adapter=apart:Apart")

    assert "licensing: needs 'rollout': not applicable: flags live in another product" in done.text


def test_a_required_capability_must_not_be_skipped(toy_run: Any) -> None:
    """``--licensing-require rollout`` makes the skip undecided: exit 10, and the words say why."""
    done = toy_run("-k", "held or rollout", "--licensing-require=rollout")

    assert done.code == 10, done.text
    assert "1 passed, 3 deselected, 1 undecided" in done.text
    assert "'rollout' is required (--licensing-require)" in done.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--licensing-require=rollouts"], "--licensing-require: 'rollouts' is no capability; choose from"),
        (["--licensing-only=seat"], "--licensing-only: seat is no family or promise here; families:"),
        (["--licensing-depth=deep"], "--licensing-depth: 'deep' is none of smoke, ci, nightly"),
        (["--licensing-adapter=nowhere:Toy"], "adapter: no module 'nowhere' here or on the Python path"),
        (["--licensing-adapter=toy:Tin"], "adapter 'toy:Tin': the module toy has no Tin"),
        (["--licensing-adapter=toy:simulated"], "not a subclass of licensing_harness.Adapter"),
        (["--licensing-adapter=toy"], "adapter 'toy': write it as module:Class"),
        (["--licensing-control=toy:ToyAdapter"], "not a subclass of licensing_harness.ControlAdapter"),
        (["--licensing-no-such-thing"], "unrecognized arguments: --licensing-no-such-thing"),
        (["-o", "licensing_depth=deep"], "licensing_depth: 'deep' is none of smoke, ci, nightly"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_4(toy_run: Any, arguments: list[str], message: str) -> None:
    """Usage errors name the option and the way out, before anything is sent."""
    done = toy_run("-k", "held", *arguments)

    assert done.code == 4, done.text
    assert message in done.text
    assert "Traceback" not in done.text


def test_an_unknown_ini_key_of_ours_is_an_error_without_strict_mode(toy_run: Any, tmp_path: Path) -> None:
    """Pytest would only warn; a gate that ignores a setting is worse than none."""
    (tmp_path / "pytest.toml").write_text("[pytest]\nlicensing_dept = 'smoke'\n")

    done = toy_run("-k", "held")

    assert done.code == 4, done.text
    assert "pytest.toml: licensing_dept: unknown key; did you mean 'licensing_depth'?" in done.text


def test_settings_reach_a_test_with_their_sources(toy_run: Any, tmp_path: Path) -> None:
    """``licensing_config`` has each value and who said it; the command line beats the environment beats ini."""
    (tmp_path / "pytest.toml").write_text("[pytest]\nlicensing_depth = 'nightly'\nlicensing_only = ['SEA']\n")
    (tmp_path / "licensing-harness.toml").write_text("seed = 7\nreport = 'out'\n")
    (tmp_path / "test_settings.py").write_text(
        "def test_settings(licensing_config):\n"
        "    c = licensing_config\n"
        "    assert (c.depth, c.source('depth')) == ('smoke', 'LICENSING_DEPTH')\n"
        "    assert (c.only, c.source('only')) == (('SEA',), 'pytest.toml: licensing_only')\n"
        "    assert (c.seed, c.source('seed')) == (9, '--licensing-seed')\n"
        "    assert (str(c.report), c.source('report')) == ('out', 'licensing-harness.toml: report')\n"
    )

    done = toy_run("--licensing-seed=9", LICENSING_DEPTH="smoke")

    assert done.code == 0, done.text


def test_only_takes_families_and_promises(toy_run: Any) -> None:
    """``--licensing-only`` selects by what a scenario tries, and leaves tests that are not ours alone."""
    done = toy_run("--collect-only", "-q", "--licensing-only=SEA-001")

    assert "test_raced[simulated]" in done.text
    assert "test_their_own" in done.text
    assert "test_held" not in done.text
    assert "3/5 tests collected (2 deselected)" in done.text


def test_seeds_repeat_simulated_scenarios(toy_run: Any) -> None:
    """``--licensing-seeds 3`` is three tests, each with chance of its own, told as one scenario."""
    done = toy_run("-v", "-k", "held", "--licensing-seeds=3")

    assert "test_held[simulated-seed2] PASSED" in done.text
    result = json.loads((done.run / "result.json").read_text())
    [scenario] = result["scenarios"]
    assert scenario["stories"] == 3
    seeds = {json.loads(line)["seed"] for line in _lines(done, "story")}
    assert len(seeds) == 3


@pytest.mark.parametrize(("tries", "stories"), [("SEA-001", 5), ("REV-001", 40)])
def test_a_seed_with_too_few_stories_gets_more(toy_run: Any, tmp_path: Path, tries: str, stories: int) -> None:
    """Five stories a seed are enough where they tried the promise; where not, there are more, up to a bound."""
    (tmp_path / "test_seeded.py").write_text(
        "import pytest\n"
        "from hypothesis.stateful import rule\n"
        "from licensing_harness.suite import LicensingMachine\n"
        "class Contending(LicensingMachine):\n"
        "    cuts = crashes = False\n"
        "    @rule()\n"
        "    def race(self):\n"
        "        licence = self.story.fresh_licence(seats=1)\n"
        "        self.story.contend('activate', licence)\n"
        "        self.story.settle()\n"
        f"@pytest.mark.licensing(tries=({tries!r},))\n"
        "def test_seeded(licensing_world):\n"
        "    licensing_world.machine(Contending)\n"
    )

    done = toy_run("--licensing-seeds=2", "--licensing-seed=1", "--licensing-depth=smoke")

    result = json.loads((done.run / "result.json").read_text())
    assert {each["stories"] for each in result["scenarios"]} == {2 * stories}, done.text


def _lines(done: Any, kind: str) -> list[str]:
    lines = (done.run / "history.jsonl").read_text().splitlines()
    return [line for line in lines if json.loads(line)["kind"] == kind]


@pytest.mark.parametrize("n", [0, 2], ids=["plain", "n2"])
def test_the_run_directory_tells_the_whole_run(toy_run: Any, n: int) -> None:
    """One history, one result, a case for the finding, and ``latest`` points there; under xdist as well."""
    done = toy_run("-k", "held or raced or rollout", options="?race=1", n=n)

    result = json.loads((done.run / "result.json").read_text())
    verdicts = {each["id"].rpartition("::")[2]: each["verdict"] for each in result["scenarios"]}
    [found] = result["findings"]
    assert done.code == result["exit_code"] == 1
    assert verdicts == {"test_held": "held", "test_raced": "broken", "test_rollout": "not run"}
    assert found["promise"] == "SEA-001"
    assert (done.run / "cases" / f"{found['case']}.json").is_file()
    assert len(_lines(done, "story")) == 2
    assert not list(done.run.glob("history-*.jsonl"))
    assert (done.run.parent / "latest").resolve() == done.run
    assert f"licensing-harness replay {found['case']}" in done.text


def test_a_broken_promise_is_the_first_line_of_the_failure(toy_run: Any) -> None:
    """The promise, expected, observed, evidence by number, and the replay command stand in for a traceback."""
    done = toy_run("-k", "raced", options="?race=1")

    assert "SEA-001 never more holders than seats\n  expected  " in done.text
    assert "  evidence\n    #" in done.text
    assert "test_scenarios.py:" not in done.text.partition("FAILURES")[2].partition("  replay  ")[0]


def test_a_scenario_of_its_own_assertion_keeps_its_words(toy_run: Any, tmp_path: Path) -> None:
    """The body's own assertion goes through untouched, traceback and all."""
    (tmp_path / "test_own.py").write_text(
        "import pytest\n"
        "@pytest.mark.licensing(tries=('REV-001',))\n"
        "def test_own(licensing_story):\n"
        "    licensing_story.fresh_licence()\n"
        "    assert 2 == 3\n"
    )

    done = toy_run()

    assert done.code == 1
    assert "assert 2 == 3" in done.text


def test_every_fixture_works_in_the_simulated_world(toy_run: Any, tmp_path: Path) -> None:
    """Story, campaign, history, licences that are revoked at the end, and the clock."""
    (tmp_path / "test_fixtures.py").write_text(
        "import pytest\n"
        "from licensing_harness import NotRun\n"
        "@pytest.mark.licensing(tries=('REV-001',))\n"
        "def test_fixtures(licensing_story, licensing_world, licensing_history, licensing_licence_factory,\n"
        "                  licensing_clock, licensing_world_name, licensing_outage):\n"
        "    label = licensing_licence_factory(seats=2)\n"
        "    assert licensing_story.call('laptop', 'validate', label).accepted\n"
        "    assert [each.verb for each in licensing_history[-1].operations] == ['issue', 'validate']\n"
        "    assert licensing_world.world.name == licensing_world_name == 'simulated'\n"
        "    assert licensing_clock.now() >= 0\n"
        "    with pytest.raises(NotRun, match='needs a wire to break'):\n"
        "        licensing_outage('latency', latency=100)\n"
        "    other = licensing_world.story()\n"
        "    other.call('laptop', 'validate', other.fresh_licence())\n"
        "    licensing_story.call('vendor', 'revoke', label)\n"
        "    licensing_story.call('laptop', 'validate', label)\n"
    )

    done = toy_run()

    assert done.code == 0, done.text
    verbs = [json.loads(line)["verb"] for line in _lines(done, "operation")]
    assert verbs.count("revoke") == 2


def test_a_marker_that_can_not_be_read_is_the_runs_error(toy_run: Any, tmp_path: Path) -> None:
    """A scenario that tries no known promise, or needs no known capability, says so: exit 3."""
    (tmp_path / "test_marked.py").write_text(
        "import pytest\n"
        "@pytest.mark.licensing(tries=('SEE-001',))\n"
        "def test_unknown(licensing_story): pass\n"
        "@pytest.mark.licensing(tries=('SEA-001',), needs=('chairs',))\n"
        "def test_chairs(licensing_story): pass\n"
        "@pytest.mark.licensing('SEA-001')\n"
        "def test_bare(licensing_story): pass\n"
    )

    done = toy_run()

    assert done.code == 3, done.text
    assert "tries SEE-001, which is no promise; known: VAL-001" in done.text
    assert "'chairs' is not a valid Cap; capabilities: issue" in done.text
    assert "write @pytest.mark.licensing(tries=(...), needs=(...))" in done.text


def test_one_line_brings_the_shipped_scenarios(toy_run: Any, tmp_path: Path) -> None:
    """``from licensing_harness.suite import *``: node ids stay in the user's file, scenario ids are the shipped."""
    (tmp_path / "test_licensing.py").write_text(
        'from licensing_harness.suite import *\ndef test_seats_generated():\n    """Replaces the shipped one."""\n'
    )

    done = toy_run("-k", "test_seats", "--licensing-depth=smoke")

    result = json.loads((done.run / "result.json").read_text())
    ids = {each["id"] for each in result["scenarios"]}
    assert "seats/test_seats.py::test_seats_contended[calm]" in ids
    assert "seats/test_seats.py::test_seats_generated" not in ids
    assert done.text.count("test_licensing.py") >= 1


def test_an_adapter_of_plain_functions_is_not_run_in_the_simulated_world(toy_run: Any, tmp_path: Path) -> None:
    """``def`` verbs run live only; the reason names them."""
    (tmp_path / "plain.py").write_text(
        "from licensing_harness import Adapter, Allowed, Cap\n"
        "class Plain(Adapter):\n"
        "    capabilities = {Cap.REVOKE, Cap.SEATS}\n"
        "    def revoke(self, grant): return Allowed()\n"
        "    def activate(self, key, machine): return Allowed()\n"
        "    def release(self, key, machine): return Allowed()\n"
    )

    done = toy_run("-rs", "-k", "held", "--licensing-adapter=plain:Plain")

    assert done.code == 10, done.text
    assert "needs async verbs over target.http; Plain has plain def revoke, activate, release" in done.text


def test_secrets_of_the_environment_are_in_no_output(toy_run: Any, tmp_path: Path) -> None:
    """A secret that a target echoes is masked on the screen and in every file of the run."""
    (tmp_path / "echo.py").write_text(
        "from toy import ToyAdapter\n"
        "from licensing_harness import Denied\n"
        "class Echo(ToyAdapter):\n"
        "    def open(self, target):\n"
        "        super().open(target)\n"
        "        self.token = target.secret('admin_token')\n"
        "    async def activate(self, key, machine):\n"
        "        answer = await super().activate(key, machine)\n"
        "        return Denied('no seat for ' + self.token) if isinstance(answer, Denied) else answer\n"
    )
    secret = "xyzzy-plugh-12345"

    done = toy_run(
        "-k", "raced", "--licensing-adapter=echo:Echo", options="?race=1", LICENSING_SECRET_ADMIN_TOKEN=secret
    )

    assert done.code in {1, 10}, done.text
    assert "masked" in (done.run / "history.jsonl").read_text()
    for path in (each for each in done.run.rglob("*") if each.is_file()):
        assert secret not in path.read_text()
    assert secret not in done.text
