"""The smallest HTTP/1.1 server that Toxiproxy's API needs: whole bodies, keep-alive, loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

_MOST_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; its length is added when it is sent."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class HttpServer:
    """Answers each request by ``answer(method, target, headers, body)``; header names are lower case.

    Lives on the loop on which ``start`` is awaited.
    """

    def __init__(self, answer: Callable[[str, str, dict[str, str], bytes], Awaitable[Answer]]) -> None:
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self, port: int, host: str) -> tuple[str, int]:
        """Listen and return the address. Raises OSError when it can't be had."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=_MOST_BYTES)
        address: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        return address

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, asyncio.CancelledError):
            pass  # a client that left, one that does not speak HTTP/1.1, or our own stop
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, target, version = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if not 0 <= length <= _MOST_BYTES or "transfer-encoding" in headers:
            answer, keep = Answer(413), False
        else:
            body = await reader.readexactly(length)
            answer = await self._answer(method, urlsplit(target).path if "://" in target else target, headers, body)
            keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        reason = HTTPStatus(answer.status).phrase
        shown = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        content = "" if answer.status == HTTPStatus.NO_CONTENT else f"Content-Length: {len(answer.body)}\r\n"
        writer.write(f"HTTP/1.1 {answer.status} {reason}\r\n{shown}{content}\r\n".encode("latin-1"))
        if method != "HEAD":
            writer.write(answer.body)
        await writer.drain()
        return keep
