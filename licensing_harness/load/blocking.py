"""``target.http`` over one blocking keep-alive connection, for adapters with ``async def`` verbs.

``request`` never suspends, so a verb that waits for ``target.http`` alone runs to
its end in one step, without an event loop. In Locust's process the socket is
gevent's, and other users go on while one waits.

Nothing is ever sent twice: a request whose answer did not come may have taken
effect, and sending it again would hide that from the history.
"""

from __future__ import annotations

import http.client
import json as stdlib_json
import socket
import ssl
from collections.abc import Awaitable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from licensing_harness.errors import UsageError
from licensing_harness.target.adapter import Reply
from licensing_harness.target.guard import Endpoint
from licensing_harness.vocabulary import Answer

_SAFE: Final = "/?:@&=+$,;~!*'()%[]"
"""Left as they are in the path that an adapter gives: what RFC 3986 allows there, and escapes."""


class Headers(Mapping[str, str]):
    """An answer's headers, looked up in any case."""

    def __init__(self, message: http.client.HTTPMessage) -> None:
        self._message = message

    def __getitem__(self, name: str) -> str:
        value = self._message.get(name)
        if value is None:
            raise KeyError(name)
        return str(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._message.keys())

    def __len__(self) -> int:
        return len(self._message)


class BlockingResponse:
    """What came back, read to its end."""

    __slots__ = ("content", "headers", "status_code")

    def __init__(self, status_code: int, headers: Headers, content: bytes) -> None:
        self.status_code = status_code
        self.headers: Mapping[str, str] = headers
        self.content = content

    @property
    def text(self) -> str:
        """The body as text; bytes that are no UTF-8 are replaced."""
        return self.content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON; raises json.JSONDecodeError when it is none."""
        return stdlib_json.loads(self.content)


class BlockingHttp:
    """One connection to the endpoint, by the address that was judged; ``timeout`` is in seconds and for each wait."""

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._sock: socket.socket | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> BlockingResponse:
        """Send one request below the base URL and read the whole answer.

        Raises OSError or http.client.HTTPException when no answer came; the
        connection is then closed, and the next request opens a new one.
        """
        path = f"{self._endpoint.path}/{quote(url.lstrip('/'), safe=_SAFE)}"
        if params:
            path += ("&" if "?" in path else "?") + urlencode(params, doseq=True)
        fields = {"Host": self._endpoint.authority, "Accept": "application/json", **(headers or {})}
        body = content or b""
        if json is not None:
            body = stdlib_json.dumps(json, ensure_ascii=False, separators=(",", ":")).encode()
            fields.setdefault("Content-Type", "application/json")
        if body or method in {"POST", "PUT", "PATCH"}:
            fields["Content-Length"] = str(len(body))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        if head.count("\n") != len(fields) or head.count("\r") != len(fields):
            message = "a header holds a line break"
            raise ValueError(message)
        return self._exchange(method, f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)

    def _exchange(self, method: str, message: bytes) -> BlockingResponse:
        """Send in one piece (http.client would take two) and read one answer."""
        sock = self._connected()
        try:
            sock.sendall(message)
            answer = http.client.HTTPResponse(sock, method=method)
            try:
                answer.begin()
                response = BlockingResponse(answer.status, Headers(answer.headers), answer.read())
            finally:
                answer.close()
        except BaseException:
            self.close()
            raise
        if answer.will_close:
            self.close()
        return response

    def _connected(self) -> socket.socket:
        """The connection, opened if there is none, or if the target closed it while it was idle."""
        if self._sock is not None and _stale(self._sock):
            self.close()
        if self._sock is None:
            endpoint = self._endpoint
            sock = socket.create_connection((endpoint.address, endpoint.port), self._timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if endpoint.scheme == "https":
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=endpoint.host)
            self._sock = sock
        return self._sock

    def close(self) -> None:
        """Close the connection; harmless when repeated."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def _stale(sock: socket.socket) -> bool:
    """Whether an idle connection is at its end, or out of step: nothing may arrive before a request was sent."""
    if isinstance(sock, ssl.SSLSocket):
        return False  # can't be looked into; a close shows as a lost answer
    patience = sock.gettimeout()
    sock.settimeout(0.0)
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        sock.settimeout(patience)
    return True


def finish(reply: Reply) -> Answer:
    """The answer of a verb; a coroutine is run to its end in one step.

    Raises UsageError when it waits for anything but ``target.http``.
    """
    if not isinstance(reply, Awaitable):
        return reply
    run = reply.__await__()
    try:
        next(run)
    except StopIteration as done:
        answer: Answer = done.value
        return answer
    if (close := getattr(reply, "close", None)) is not None:
        close()
    message = (
        "an async verb waits for something other than target.http; under load it can't. "
        "Use target.http alone, or a def verb with a blocking client."
    )
    raise UsageError(message)
