"""``python -m benchmarks [NAME...]``: measure, print the table, write ``.licensing/bench.json``.

Every measurement runs in a process of its own. NAME is a row (``validate/echo``)
or a module (``validate``). With names, the other rows of the file are kept.
``--gate`` makes a missed bar exit 1; a measurement that failed always does.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Column, Table

from benchmarks.bench import BARS, ROWS, Row, Skipped

HERE: Final = Path(__file__).parent
OUT: Final = Path(".licensing") / "bench.json"
LONGEST: Final = 300
"""Seconds that one measurement may take."""

_PARTS: Final = frozenset({"__main__", "bench", "echo", "prototype", "servers", "wire_client", "wire_target"})


def modules() -> list[str]:
    """The modules that measure: those of the promised rows first, then any other that is here."""
    here = {path.stem for path in HERE.glob("*.py")} - _PARTS
    promised = list(dict.fromkeys(ROWS.values()))
    return [*promised, *sorted(here - set(promised))]


def measured(module: str) -> tuple[list[Row], str]:
    """The rows of one module, and why there are none, if so."""
    if not (HERE / f"{module}.py").is_file():
        return [], "not in this checkout"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        command = [sys.executable, "-m", "benchmarks", "--one", module, "--out", str(out)]
        try:
            done = subprocess.run(command, timeout=LONGEST, capture_output=True, text=True, check=False)
        except subprocess.TimeoutExpired:
            return [], f"took longer than {LONGEST} s"
        if not out.is_file():
            last = (done.stderr.strip() or "no word").splitlines()[-1]
            return [], f"failed: {last}"
        said = json.loads(out.read_text())
    return said["rows"], said["skipped"]


def one(module: str, out: Path) -> int:
    """Measure one module, here, and write its rows down."""
    skipped, rows = "", []
    try:
        rows = importlib.import_module(f"benchmarks.{module}").measure()
    except Skipped as reason:
        skipped = f"skipped: {reason}"
    out.write_text(json.dumps({"rows": rows, "skipped": skipped}))
    return 0


def verdict(row: Row) -> str:
    """``pass`` or ``MISS`` with the bar, or nothing where there is none."""
    bar = BARS.get(row["name"])
    if bar is None:
        return ""
    return f"[green]pass[/] {bar}" if bar.passed(row) else f"[red]MISS[/] {bar}"


def figure(value: float | None) -> str:
    """Three or four digits that matter."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"  # noqa: PLR2004 - digits


def show(rows: Sequence[Row], absent: Sequence[tuple[str, str]]) -> None:
    """The table, and what is not in it."""
    console = Console(width=110)
    table = Table(Column("row", no_wrap=True), "value", "unit", "baseline", "ratio", "bar")
    for row in rows:
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        table.add_row(row["name"], figure(row["value"]), row["unit"], figure(row["baseline"]), ratio, verdict(row))
    console.print(table)
    for module, why in absent:
        console.print(f"{module}: {why}", style="yellow", markup=False)


def write(rows: Sequence[Row], *, keep: bool) -> None:
    """Write the file; with ``keep``, rows that were not measured now stay as they were."""
    kept: list[Row] = []
    if keep and OUT.is_file():
        now = {row["name"] for row in rows}
        kept = [row for row in json.loads(OUT.read_text()) if row["name"] not in now]
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps([*kept, *rows], indent=2) + "\n")


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, side by side.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows or modules; all when none is given")
    parser.add_argument("--gate", action="store_true", help="exit 1 when a bar is missed")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return one(options.one, options.out)
    known = modules()
    chosen = list(dict.fromkeys(ROWS.get(name, name) for name in options.names)) or known
    if unknown := [name for name in chosen if name not in known]:
        parser.error(f"there is no {', '.join(unknown)}; choose from {', '.join([*ROWS, *known])}")
    rows: list[Row] = []
    absent: list[tuple[str, str]] = []
    console = Console(stderr=True)
    for module in chosen:
        with console.status(f"measuring {module}"):
            found, why = measured(module)
        rows += found
        if why:
            absent.append((module, why))
    write(rows, keep=bool(options.names))
    show(rows, absent)
    failed = any(why.startswith(("failed", "took")) for _, why in absent)
    missed = any(not bar.passed(row) for row in rows if (bar := BARS.get(row["name"])) is not None)
    return 1 if failed or (options.gate and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
