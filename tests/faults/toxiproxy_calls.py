"""Calls to a Toxiproxy API, ours or the real one."""

from __future__ import annotations

import http.client
import json
from typing import Any

from echo_server import Echo

from licensing_harness.faults.server import FaultServer


def send(
    server: FaultServer, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection(*server.address, timeout=10)
    text = body if isinstance(body, str | None) else json.dumps(body)
    connection.request(method, path, body=text, headers=headers)
    answer = connection.getresponse()
    read = answer.read().decode()
    connection.close()
    return answer.status, read, {name.lower(): value for name, value in answer.getheaders()}


def made(server: FaultServer, echo: Echo, name: str = "p", **more: Any) -> dict[str, Any]:
    upstream = f"127.0.0.1:{echo.address[1]}"
    status, text, _ = send(
        server, "POST", "/proxies", {"name": name, "listen": "127.0.0.1:0", "upstream": upstream, **more}
    )
    assert status == 201, text
    return json.loads(text)


def address(proxy: dict[str, Any]) -> tuple[str, int]:
    host, _, port = proxy["listen"].rpartition(":")
    return host, int(port)
