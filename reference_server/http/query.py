"""Numbers in a query string."""

from __future__ import annotations

from typing import Final

from reference_server.http.wire import BadRequest

_LONGEST: Final = 16


def number(query: dict[str, str], name: str, usual: int, *, least: int = 1, most: int) -> int:
    """An integer of the query. Raises BadRequest."""
    text = query.get(name)
    if text is None:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST and least <= int(text) <= most):
        raise BadRequest("invalid-request", 422, f"The query parameter {name} must be from {least} to {most}.")
    return int(text)
