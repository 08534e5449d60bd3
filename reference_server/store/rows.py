"""Rows on their way to and from the tables, as plain tuples in the order of the columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

Row = tuple[Any, ...]


class Rows(NamedTuple):
    """What one batch writes, all of it or nothing."""

    events: Sequence[Row] = ()
    licences: Sequence[Row] = ()
    leases: Sequence[Row] = ()
    released: Sequence[Row] = ()
    answers: Sequence[Row] = ()
    api_tokens: Sequence[Row] = ()
    settings: Sequence[Row] = ()


class Stock(NamedTuple):
    """All that is stored, but for the ledger, of which only the last entry is needed."""

    licences: Sequence[Row] = ()
    leases: Sequence[Row] = ()
    answers: Sequence[Row] = ()
    api_tokens: Sequence[Row] = ()
    head: Sequence[Row] = ()
