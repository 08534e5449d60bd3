"""Who may import whom, and who may read clocks and entropy: kept, and shown red once each."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = {contract["id"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}
BANNED = PROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
READERS = {
    "licensing_harness/clock.py",
    "licensing_harness/entropy.py",
    "reference_server/clock.py",
    "reference_server/entropy.py",
}

# contract, the module that gets one line more, that line
VIOLATIONS = [
    ("layers", "licensing_harness/errors.py", "import licensing_harness.vocabulary"),
    ("layers", "licensing_harness/history.py", "import licensing_harness.target.adapter"),
    ("layers", "licensing_harness/target/recorder.py", "import licensing_harness.worlds.story"),
    ("layers", "licensing_harness/worlds/story.py", "import licensing_harness.suite"),
    ("layers", "licensing_harness/worlds/story.py", "import licensing_harness.checkers.seats"),
    ("layers", "licensing_harness/utils.py", "import json"),
    ("faces", "licensing_harness/cli.py", "import licensing_harness.plugin"),
    ("faces", "licensing_harness/plugin.py", "import licensing_harness.load"),
    ("judging", "licensing_harness/checkers/seats.py", "import httpx2"),
    ("judging", "licensing_harness/checkers/seats.py", "import licensing_harness.target.adapter"),
    ("judging", "licensing_harness/verdict.py", "import pytest"),
    ("judging", "licensing_harness/history.py", "import hypothesis"),
    ("families", "licensing_harness/checkers/seats.py", "import licensing_harness.checkers.audit"),
    ("oracle", "licensing_harness/checkers/audit.py", "import reference_server.ledger"),
    ("oracle", "reference_server/ledger.py", "import licensing_harness.history"),
    ("locust", "licensing_harness/suite.py", "import locust"),
    ("locust", "reference_server/clock.py", "import gevent"),
    ("rules", "reference_server/rules/__init__.py", "import reference_server.clock"),
    ("rules", "reference_server/rules/__init__.py", "import sqlalchemy"),
]


def lint_imports(where: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    return subprocess.run(
        [*command, "--no-cache", *arguments], cwd=where, capture_output=True, text=True, check=False, timeout=60
    )


def copy_of_the_packages(where: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", where)
    for package in ("licensing_harness", "reference_server"):
        shutil.copytree(ROOT / package, where / package, ignore=shutil.ignore_patterns("__pycache__"))
    return where


def test_every_import_contract_is_kept() -> None:
    """The code as it stands keeps every import contract."""
    result = lint_imports(ROOT)

    assert result.returncode == 0, result.stdout + result.stderr


def test_every_contract_has_a_violation_that_turns_it_red() -> None:
    """No contract is listed that was never seen to fail."""
    assert {contract for contract, _, _ in VIOLATIONS} == set(CONTRACTS)


@pytest.mark.parametrize(("contract", "module", "line"), VIOLATIONS)
def test_an_import_contract_goes_red(tmp_path: Path, contract: str, module: str, line: str) -> None:
    """One forbidden import, or one module without a layer, breaks the contract by its name."""
    copy = copy_of_the_packages(tmp_path)
    with (copy / module).open("a") as source:
        source.write(f"\n{line}\n")

    result = lint_imports(copy, "--contract", contract)

    assert result.returncode == 1, result.stdout
    assert "BROKEN" in result.stdout


def test_the_layers_are_exhaustive() -> None:
    """A new module has to choose its layer."""
    assert CONTRACTS["layers"]["exhaustive"] is True


def lint_snippet(source: str, name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "TID251", "--stdin-filename", name, "-"],
        cwd=ROOT,
        input=source,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize("banned", sorted(BANNED))
def test_a_banned_call_goes_red(banned: str) -> None:
    """Reading a clock or drawing entropy is refused in every module but the four that do it."""
    module = banned.split(".", maxsplit=1)[0]
    snippet = f"import {module}\n\nprint({banned})\n"

    result = lint_snippet(snippet, "licensing_harness/somewhere.py")

    assert result.returncode == 1, result.stdout
    assert f"`{banned}` is banned" in result.stdout


def test_only_the_clocks_and_the_entropy_modules_are_excused() -> None:
    """Of the code that ships, four modules may read the real clock or draw real entropy."""
    excused = {
        path
        for path, rules in PROJECT["tool"]["ruff"]["lint"]["per-file-ignores"].items()
        if "TID251" in rules and path.startswith(("licensing_harness", "reference_server", "scenarios"))
    }

    assert excused == READERS
    for path in READERS:
        assert lint_snippet("import time\n\nprint(time.time())\n", path).returncode == 0


def test_plugin_start_up_loads_the_standard_library_and_pytest_only() -> None:
    """Importing the plugin adds no third-party module and none of the slow standard ones to what pytest has."""
    code = (
        "import sys, pytest, _pytest.config\n"
        "before = set(sys.modules)\n"
        "import licensing_harness.plugin\n"
        "print(*sorted(name for name in set(sys.modules) - before))\n"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    ).stdout.split()

    tops = {name.split(".")[0] for name in loaded}
    slow = {"asyncio", "http", "urllib.request", "concurrent.futures.process", "multiprocessing", "xml", "sqlite3"}
    assert tops - set(sys.stdlib_module_names) <= {"licensing_harness"}
    assert not slow & {*tops, *loaded}


def test_every_ignored_lint_rule_says_why() -> None:
    """Each rule that is switched off has its reason on its line."""
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    start = lines.index("ignore = [")
    silent = [line for line in lines[start + 1 : lines.index("]", start)] if "#" not in line]

    assert silent == []
