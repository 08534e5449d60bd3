"""Settings: who wins, where they came from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from licensing_harness.config import Value, find_ini, parse, read_ini, resolve
from licensing_harness.errors import UsageError
from licensing_harness.options import BY_NAME, CONFIG_FILE, OPTIONS


def test_every_option_has_its_five_names() -> None:
    """One row of the table gives the flag, the ini key, the variable and the file's key."""
    option = BY_NAME["allow-host"]

    assert option.flag == "--licensing-allow-host"
    assert option.ini == "licensing_allow_host"
    assert option.env == "LICENSING_ALLOW_HOST"
    assert len({each.env for each in OPTIONS}) == len(OPTIONS)


def test_the_command_line_beats_the_environment_beats_ini_beats_the_file(tmp_path: Path) -> None:
    """Precedence is as documented, and each value knows its source."""
    (tmp_path / CONFIG_FILE).write_text('depth = "nightly"\nworld = "live"\nseed = 1\nreport = "file"\n')

    config = resolve(
        command_line={"depth": "smoke"},
        environ={"LICENSING_DEPTH": "ci", "LICENSING_WORLD": "simulated"},
        ini={
            "depth": Value("ci", "ini"),
            "world": Value("both", "ini"),
            "seed": Value(2, "pytest.ini: licensing_seed"),
        },
        directories=[tmp_path / "nowhere", tmp_path],
    )

    assert (config.depth, config.source("depth")) == ("smoke", "--licensing-depth")
    assert (config.world, config.source("world")) == ("simulated", "LICENSING_WORLD")
    assert (config.seed, config.source("seed")) == (2, "pytest.ini: licensing_seed")
    assert (config.report, config.source("report")) == (Path("file"), f"{CONFIG_FILE}: report")
    assert (config.keep, config.source("keep")) == (False, "default")


def test_an_empty_variable_is_no_setting() -> None:
    """CI systems define variables without a value; they don't count."""
    assert resolve(environ={"LICENSING_TARGET": ""}).target is None


def test_secrets_come_from_the_environment_by_lower_case_name() -> None:
    """LICENSING_SECRET_ADMIN_TOKEN is the secret admin_token."""
    assert resolve(environ={"LICENSING_SECRET_ADMIN_TOKEN": "hunter2x"}).secrets == {"admin_token": "hunter2x"}


def test_foreign_variables_are_left_alone() -> None:
    """A licensing product may have LICENSING_ variables of its own."""
    assert resolve(environ={"LICENSING_DATABASE_URL": "x"}).target is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("depht = 'ci'", f"{CONFIG_FILE}: unknown key 'depht'; did you mean 'depth'?"),
        ("zzz = 1", f"{CONFIG_FILE}: unknown key 'zzz'; known: target, adapter"),
        ("depth = 'slow'", "depth: 'slow' is none of smoke, ci, nightly"),
        ("seed = 'x'", "seed: 'x' is not a whole number"),
        ("seed = true", "seed: True is not a whole number"),
        ("seeds = 0", "seeds: 0 is too small; give 1 or more"),
        ("keep = 'maybe'", "keep: 'maybe' is neither true nor false"),
        ("only = [1]", "only: expected a list of texts, got [1]"),
        ("target = 5", "target: expected a text, got 5"),
        ("target = 'lockbox'", "'lockbox' is no target; give http(s)://HOST or asgi:module:factory"),
        ("target = 'http://127.0.0.1'", "a target needs an adapter: add --licensing-adapter module:Class"),
        ("[", "can't be read"),
    ],
)
def test_a_setting_that_cannot_be_read_is_refused_with_its_source(tmp_path: Path, text: str, message: str) -> None:
    """Bad settings are usage errors, exit 4, that name the file and the way out."""
    (tmp_path / CONFIG_FILE).write_text(text)

    with pytest.raises(UsageError) as caught:
        resolve(directories=[tmp_path])

    assert message in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_defect_is_for_the_reference_server_only() -> None:
    """Nobody can plant a bug in a server that they did not start."""
    with pytest.raises(UsageError, match="reference server only"):
        resolve(command_line={"target": "http://127.0.0.1:1", "adapter": "a:B", "defect": "seats-race"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", "[tool.pytest]\nlicensing_depth = 'smoke'\n"),
        ("pyproject.toml", "[tool.pytest.ini_options]\nlicensing_depth = 'smoke'\n"),
        ("pytest.toml", "[pytest]\nlicensing_depth = 'smoke'\n"),
        ("pytest.ini", "[pytest]\nlicensing_depth = smoke\n"),
        ("setup.cfg", "[tool:pytest]\nlicensing_depth = smoke\n"),
    ],
)
def test_ini_keys_are_read_from_every_file_that_pytest_reads(tmp_path: Path, name: str, text: str) -> None:
    """The command line tool sees the same ini keys as pytest does."""
    (tmp_path / name).write_text(text)

    path = find_ini(tmp_path)

    assert path is not None
    assert read_ini(path)["depth"] == Value("smoke", f"{name}: licensing_depth")


def test_an_unknown_ini_key_of_ours_is_refused(tmp_path: Path) -> None:
    """A misspelt ini key is an error, also without pytest's strict mode."""
    (tmp_path / "pytest.toml").write_text("[pytest]\nlicensing_dept = 'ci'\nother = 1\n")

    with pytest.raises(UsageError, match="licensing_dept: unknown key; did you mean 'licensing_depth'"):
        read_ini(tmp_path / "pytest.toml")


def test_lists_take_commas_and_repeats() -> None:
    """``--licensing-only seats,SEA-001 --licensing-only audit`` is three."""
    assert parse(BY_NAME["only"], ["seats, SEA-001", "audit"], "x") == ("seats", "SEA-001", "audit")


@pytest.mark.parametrize(
    ("target", "world", "worlds"),
    [
        (None, None, ("simulated", "live")),
        (None, "live", ("live",)),
        ("http://127.0.0.1:1", None, ("live",)),
        ("http://127.0.0.1:1", "both", ("simulated", "live")),
        ("asgi:a:b", None, ("simulated",)),
        ("asgi:a:b", "live", ("live",)),
    ],
)
def test_the_target_decides_the_worlds_unless_they_are_named(
    target: str | None, world: str | None, worlds: tuple[str, ...]
) -> None:
    """A URL runs live, an asgi: target simulated; a world asked for by name is kept, to be not run with a reason."""
    config = resolve(command_line={"target": target, "adapter": "a:B", "world": world})

    assert config.worlds() == worlds
    assert (config.impossible("live") is None) == (target is None or target.startswith("http"))


def test_arguments_say_again_what_was_given() -> None:
    """The gate hands its settings to pytest by flags, and they resolve to the same values."""
    given = {"depth": "smoke", "only": ["seats", "audit"], "keep": True, "seed": 7}
    config = resolve(command_line=given)

    assert config.arguments() == [
        "--licensing-depth=smoke",
        "--licensing-only=seats,audit",
        "--licensing-seed=7",
        "--licensing-keep",
    ]
