"""``doctor``: what is installed, what is set and by whom, and whether the adapter is in order."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from licensing_harness import __version__
from licensing_harness.clock import RealClock
from licensing_harness.commands.gate import configured
from licensing_harness.errors import HarnessError
from licensing_harness.run import Run, new_place

_PACKAGES: Final = ("pytest", "hypothesis", "pytest-xdist", "httpx2", "msgspec", "PyJWT", "cryptography", "Faker")
_EXTRAS: Final = {
    "server": ("starlette", "uvicorn", "sqlalchemy", "alembic", "psycopg"),
    "load": ("locust",),
    "fuzz": ("schemathesis",),
}
_PROGRAMS: Final = {
    "toxiproxy-server": "outages can also be set with the embedded proxy",
    "postgres": "the reference server also runs on SQLite",
}
_LIKELY: Final = ("/usr/lib/postgresql/*/bin", "/usr/local/bin", "/opt/homebrew/bin")


def run(given: Mapping[str, Any]) -> int:
    """Print everything; exit 0 when the adapter is in order, else with the error's code. Raises UsageError."""
    config = configured(given)
    console = Console(highlight=False)
    console.print(f"licensing-harness {__version__}, Python {platform.python_version()}, {sys.platform}")
    console.print(_installed())
    console.print(_settings(config))
    if config.secrets:
        console.print(f"secrets from the environment: {', '.join(sorted(config.secrets))} (values not shown)")
    try:
        place = new_place(config, invoked_in=Path.cwd(), clock=RealClock())
        it = Run(config, place)
        adapter, control = it.adapter, it.control
    except HarnessError as error:
        console.print(f"[red]✗[/red] {error}", soft_wrap=True)
        return error.exit_code
    states = ", ".join(sorted(it.capabilities))
    console.print(f"[green]✓[/green] adapter {adapter.__module__}:{adapter.__qualname__} can: {states}", soft_wrap=True)
    for cap, why in adapter.not_applicable.items():
        console.print(f"  not applicable: {cap}: {why}", soft_wrap=True)
    numbers = ", ".join(f"{name}={value:g}" for name, value in adapter.contract.as_dict().items())
    console.print(f"  contract: {numbers or 'no numbers stated; promises that need one are not run'}", soft_wrap=True)
    if control is not None:
        console.print(f"[green]✓[/green] control {config.control}")
    for world in ("simulated", "live"):
        console.print(f"  {world}: {it.impossible(world) or 'yes'}", soft_wrap=True)
    return 0


def _installed() -> Table:
    table = Table("installed", "version", "", box=None, pad_edge=False, header_style="bold")
    for name in _PACKAGES:
        table.add_row(name, _version(name) or "-", "")
    for extra, modules in _EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        hint = f"pip install 'licensing-harness\\[{extra}]'" if missing else ""
        table.add_row(f"extra {extra}", f"missing: {', '.join(missing)}" if missing else "yes", hint)
    for program, without in _PROGRAMS.items():
        path = _program(program)
        table.add_row(program, path or "-", "" if path else without)
    return table


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _program(name: str) -> str | None:
    found = shutil.which(name)
    if found is not None:
        return found
    for pattern in _LIKELY:
        anchor = Path(pattern[: pattern.index("*")]) if "*" in pattern else Path(pattern)
        if anchor.is_dir():
            rest = pattern.removeprefix(f"{anchor.as_posix()}/") if "*" in pattern else "."
            path = next((str(each / name) for each in sorted(anchor.glob(rest)) if (each / name).is_file()), None)
            if path is not None:
                return path
    return None


def _settings(config: Any) -> Table:
    table = Table("setting", "value", "from", box=None, pad_edge=False, header_style="bold")
    for option, value in config:
        shown = ", ".join(value.value) if isinstance(value.value, tuple) else value.value
        table.add_row(option.name, "-" if shown in (None, "") else str(shown), value.source)
    return table
