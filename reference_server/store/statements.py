"""The few statements of the hot paths, as the driver itself runs them.

SQLAlchemy Core compiled them (``compile``); a batch of 32 costs the driver 0.4
of what it costs Core. One test compares the two ways row by row, on both
databases.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from reference_server.store.rows import Row, Rows, Stock

COMPILED: Final = Path(__file__).with_name("compiled.json")
"""The statements as text, by dialect."""


class Statements(msgspec.Struct, frozen=True):
    """The statements of one dialect. All methods take an open DBAPI connection."""

    event: str
    answer: str
    licence: str
    lease: str
    api_token: str
    put_setting: str
    released: str
    all_licences: str
    all_leases: str
    all_answers: str
    all_api_tokens: str
    last_event: str
    some_events: str
    one_setting: str

    def write(self, connection: Any, rows: Rows) -> None:
        """Write one batch. The caller has opened the transaction, and commits it."""
        cursor = connection.cursor()
        for statement, given in (
            (self.event, rows.events),
            (self.licence, rows.licences),
            (self.released, rows.released),
            (self.lease, rows.leases),
            (self.answer, rows.answers),
            (self.api_token, rows.api_tokens),
            (self.put_setting, rows.settings),
        ):
            if len(given) == 1:
                cursor.execute(statement, given[0])
            elif given:
                cursor.executemany(statement, given)
        cursor.close()

    def load(self, connection: Any) -> Stock:
        """Everything that the projection is made of."""
        return Stock(
            licences=self._fetched(connection, self.all_licences),
            leases=self._fetched(connection, self.all_leases),
            answers=self._fetched(connection, self.all_answers),
            api_tokens=self._fetched(connection, self.all_api_tokens),
            head=self._fetched(connection, self.last_event),
        )

    def events(self, connection: Any, after: int, count: int) -> tuple[Sequence[Row], Sequence[Row]]:
        """Up to ``count`` entries of the ledger after number ``after``, and the last one of all."""
        page = self._fetched(connection, self.some_events, (after, after + count))
        return page, self._fetched(connection, self.last_event)

    def setting(self, connection: Any, name: str) -> str | None:
        """The value of a setting, or None."""
        for (value,) in self._fetched(connection, self.one_setting, (name,)):
            return str(value)
        return None

    def _fetched(self, connection: Any, statement: str, parameters: Row = ()) -> Sequence[Row]:
        cursor = connection.cursor()
        try:
            cursor.execute(statement, parameters)
            rows: Sequence[Row] = cursor.fetchall()
        finally:
            cursor.close()
        return rows


@cache
def _compiled() -> dict[str, Statements]:
    return msgspec.json.decode(COMPILED.read_bytes(), type=dict[str, Statements])


def for_sqlite() -> Statements:
    """The statements as sqlite3 runs them (``?``)."""
    return _compiled()["sqlite"]


def for_postgresql() -> Statements:
    """The statements as psycopg runs them (``%s``)."""
    return _compiled()["postgresql"]
