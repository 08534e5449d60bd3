"""What stands in for a target's answer when the wire answers a call itself: the kind ``status``."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

STATUSES: Final = (200, 429, 500, 502, 503)
"""The statuses that the wire can answer with."""
RETRY_AFTER: Final = (429, 503)
"""Statuses that may say when to come again."""
MOST_CORRUPTED: Final = 65_536
"""Bytes of one body that can be changed."""

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1><p>{text}</p></body>
</html>
"""
_PAGES: Final = {
    200: ("Welcome", "Please sign in to use this network."),
    502: ("502 Bad Gateway", "The gateway got no valid answer from the server behind it."),
}


@dataclass(frozen=True, slots=True)
class Page:
    """An answer: its status, its header fields without those that frame it, and its body."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def message(self, *, method: str = "GET", close: bool = False) -> bytes:
        """It as an HTTP/1.1 answer to a request of ``method``; ``close`` says that the connection ends with it."""
        fields = [*self.fields, ("Content-Length", str(len(self.body))), *([("Connection", "close")] if close else [])]
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        start = f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
        return f"{start}{head}\r\n".encode("latin-1") + (b"" if method == "HEAD" else self.body)


def page(status: int, retry_after: int | None = None) -> Page:
    """The answer with ``status``: 200 is a network's sign-in page, 502 a gateway's, both HTML; the others are text.

    ``retry_after``, in seconds, is sent as ``Retry-After`` with 429 and 503.
    """
    if status in _PAGES:
        title, text = _PAGES[status]
        kind, body = "text/html; charset=utf-8", _PAGE.format(title=title, text=text)
    else:
        kind, body = "text/plain; charset=utf-8", f"{HTTPStatus(status).phrase}\n"
    fields = [("Content-Type", kind), ("Cache-Control", "no-store")]
    if retry_after is not None:
        fields.append(("Retry-After", str(retry_after)))
    return Page(status, tuple(fields), body.encode())
