"""Faults by promises, as reports show them: what was tried under what, and why the rest was not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from licensing_harness.report.text import many, ranges
from licensing_harness.verdict import CellResult, FaultResult, PromiseResult

_DASH: Final = "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One promise under one fault: a sign of its style, and what it means."""

    text: str
    style: str
    """``held``, ``broken``, ``undecided`` or ``not-run``."""
    tip: str


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of fault that was set."""

    fault: str
    set: int
    met: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class MatrixTable:
    """The table. ``reasons`` say why a fault was not set or a promise not tried under it: what, and why."""

    promises: tuple[str, ...]
    rows: tuple[Row, ...]
    reasons: tuple[tuple[str, str], ...]


def matrix_table(matrix: Sequence[FaultResult], promises: Sequence[PromiseResult]) -> MatrixTable:
    """Rows for faults that were set, columns for promises that any of them was about."""
    there = [each for each in matrix if each.set]
    sentences = {each.id: each.sentence for each in promises}
    about = {cell.promise for row in there for cell in row.promises if cell.tried or cell.undecided}
    columns = tuple(each for each in sentences if each in about)
    rows = tuple(
        Row(
            fault=row.fault,
            set=row.set,
            met=row.met,
            cells=tuple(_cell(row.fault, cell) for cell in row.promises if cell.promise in about),
        )
        for row in there
    )
    return MatrixTable(promises=columns, rows=rows, reasons=tuple(_reasons(matrix, about)))


def _cell(fault: str, cell: CellResult) -> Cell:
    where = f"{cell.promise} under {fault}"
    if cell.broken:
        return Cell(f"\N{BALLOT X} {cell.tried:,}", "broken", f"{where}: broken in {_stories(cell.broken)}")
    if cell.tried:
        more = f"; {_stories(cell.undecided)} proved nothing" if cell.undecided else ""
        return Cell(
            f"{cell.tried:,}", "held", f"{where}: {many(cell.tried, 'occasion')} in {_stories(cell.stories)}{more}"
        )
    if cell.undecided:
        return Cell("?", "undecided", f"{where}: undecided in {_stories(cell.undecided)}: {cell.reason}")
    return Cell(_DASH, "not-run", f"{where}: not run: {cell.reason}")


def _stories(count: int) -> str:
    return many(count, "story", "stories")


def _reasons(matrix: Sequence[FaultResult], about: set[str]) -> list[tuple[str, str]]:
    """Reasons that are shared by many stand once."""
    unset: dict[str, list[str]] = {}
    for row in matrix:
        if not row.set:
            unset.setdefault(row.reason, []).append(row.fault)
    untried: dict[str, set[str]] = {}
    for row in matrix:
        for cell in row.promises:
            if row.set and not (cell.tried or cell.undecided) and cell.promise not in about:
                untried.setdefault(cell.reason, set()).add(cell.promise)
    told = [(ranges(sorted(ids)), f"under none of these faults: {reason}") for reason, ids in untried.items()]
    return [*told, *((", ".join(kinds), f"not set: {reason}") for reason, kinds in unset.items())]
