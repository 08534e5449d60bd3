"""What stands behind the proxies: the least that a target can do, so that the proxies are what is measured.

A request that ends with an empty line gets a small answer. A line ``BULK n``
gets ``n`` bytes. ``python -m benchmarks.wire_target`` prints its address as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any, Final

import uvloop

ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
_PIECE: Final = bytes(256 * 1024)


class Target(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: Any) -> None:
        """Keep it."""
        self.transport = transport
        self.left = 0

    def data_received(self, data: bytes) -> None:
        """Answer each request."""
        if data.startswith(b"BULK "):
            self.left = int(data[5:])
            self.resume_writing()
        else:
            self.transport.write(ANSWER * data.count(b"\r\n\r\n"))

    def resume_writing(self) -> None:
        """Send on what is left of a bulk answer, as far as there is room."""
        while self.left > 0 and self.transport.get_write_buffer_size() < len(_PIECE):
            piece = _PIECE[: self.left]
            self.left -= len(piece)
            self.transport.write(piece)


async def main() -> None:
    """Serve until SIGTERM."""
    server = await asyncio.get_running_loop().create_server(Target, "127.0.0.1", 0, backlog=1024)
    print(json.dumps({"port": server.sockets[0].getsockname()[1], "pid": os.getpid()}), flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
