"""``gate``: the scenarios, run by pytest in a process of its own.

A process of its own, because pytest rewrites the assertions of modules that it
loads itself, and this one has loaded the harness already. Root directory,
settings and plugins are pinned: a scenario has the same id everywhere, and what
else is installed (Locust's plugin among them, which patches the standard
library) stays out.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from licensing_harness.commands.planted import check_defect
from licensing_harness.config import Config, Value, find_ini, read_ini, resolve
from licensing_harness.suite import scenarios
from licensing_harness.verdict import Exit

_QUIET: Final = ("-qq", "--no-header", "--no-summary", "--show-capture=no", "--licensing-screen")
_SETTINGS: Final = Path(__file__).parent.parent / "gate.toml"


def configured(given: Mapping[str, Any], stated: Mapping[str, Value] | None = None) -> Config:
    """The settings of a command that was given these flags, in the current directory.

    ``stated`` are options by name from a file that the command was given; they
    win over ``licensing-harness.toml`` and over nothing else. Raises UsageError.
    """
    here = Path.cwd()
    return resolve(
        command_line=given,
        environ=os.environ,
        ini=read_ini(find_ini(here)),
        directories=(here,),
        stated=stated,
        flag=lambda option: f"--{option.name}",
    )


def pytest_command(config: Config, extra: list[str], *, verbose: bool) -> list[str]:
    """The command that judges with these settings."""
    state = Path.cwd() / config.report
    command = [sys.executable, "-m", "pytest", "--disable-plugin-autoload", "-p", "licensing_harness.plugin"]
    if importlib.util.find_spec("xdist") is not None:
        command += ["-p", "xdist"]
    command += ["-c", str(_SETTINGS), f"--rootdir={scenarios().parent}", "-o", f"cache_dir={state / 'cache'}"]
    command += [] if verbose else _QUIET
    return [*command, *config.arguments(), *extra, str(scenarios())]


def environment() -> dict[str, str]:
    """The environment of such a process: what was resolved is passed by flags."""
    from licensing_harness.options import OPTIONS

    ours = {option.env for option in OPTIONS}
    kept = {name: value for name, value in os.environ.items() if name not in ours | {"PYTEST_ADDOPTS"}}
    # Bytecode beside installed modules is not ours to write, and Hypothesis must not litter either.
    return {**kept, "HYPOTHESIS_STORAGE_DIRECTORY": str(Path.cwd() / ".licensing" / "hypothesis")}


def run(given: Mapping[str, Any], extra: list[str], *, verbose: bool) -> int:
    """Run the gate and return its exit code. Raises UsageError."""
    config = configured(given)
    check_defect(config)
    command = pytest_command(config, extra, verbose=verbose)
    with subprocess.Popen(command, env=environment()) as process:  # noqa: S603 - our own interpreter
        while process.poll() is None:
            # The terminal sends Ctrl-C to pytest too, which cleans up and reports: wait for that.
            with contextlib.suppress(KeyboardInterrupt):
                process.wait()
    if process.returncode < 0:
        sys.stderr.write(f"ERROR: pytest was killed by signal {-process.returncode}\n")
        return int(Exit.HARNESS_ERROR)
    return process.returncode
