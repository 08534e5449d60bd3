"""Toxiproxy's HTTP API, version 2.12, over the embedded fault proxy.

Status codes, bodies and their order of checks are Toxiproxy's, as observed.
Where it differs on purpose: it listens on loopback addresses only (an empty
``listen`` means 127.0.0.1), its chance is seeded, a PATCH that fails changes
nothing, and attributes with which Toxiproxy crashes are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, Final
from urllib.parse import unquote

from licensing_harness.faults.bodies import BadBody, attributes, fields, read
from licensing_harness.faults.call_faults import CALL_ATTRIBUTES
from licensing_harness.faults.http import Answer, HttpServer
from licensing_harness.faults.kinds import ATTRIBUTES, refusal
from licensing_harness.faults.toxics import Toxic
from licensing_harness.faults.wire import Address, Proxy, Wire, joined, require_loopback

VERSION: Final = "2.12.0"
_PROXY: Final = {"name": str, "listen": str, "upstream": str, "enabled": bool}
_TOXIC: Final = {"name": str, "type": str, "stream": str, "toxicity": float}
_PLAIN: Final = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
_JSON: Final = {"Content-Type": "application/json"}


class Refused(Exception):
    """A request that is answered with Toxiproxy's error body."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status


Handler = Callable[[list[str], bytes], Coroutine[Any, Any, Answer]]


class ToxiproxyServer:
    """The API on a loopback port. Starts in ``start``; ``close`` removes its proxies too.

    Not thread-safe: ``start`` and ``close`` hand the work to the wire's thread.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._proxies: dict[str, Proxy] = {}
        self._wanted: dict[str, tuple[str, str]] = {}
        """By proxy, ``listen`` and ``upstream`` as they are shown."""
        self._http = HttpServer(self._answer)
        self._answered = 0

    def start(self, port: int = 0, host: str = "127.0.0.1") -> Address:
        """Listen on a loopback address and return it with its port. Raises OSError when it can't be had."""
        require_loopback(host)
        return self._wire.run(lambda: self._http.start(port, host))

    def close(self) -> None:
        """Stop the API and every proxy made through it."""

        async def stop() -> None:
            await self._http.stop()
            for name in tuple(self._proxies):
                await self._remove(name)

        self._wire.run(stop)

    def hits(self, proxy: str, toxic: str) -> int:
        """How often a toxic had an effect, or on how many calls an extension toxic; 0 when there is no such toxic."""
        return self._wire.call(
            lambda: sum(
                each.hits
                for each in (self._proxies[proxy].toxics if proxy in self._proxies else ())
                if each.name == toxic
            )
        )

    # Requests ------------------------------------------------------------------------------

    async def _answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        path = unquote(target.partition("?")[0])
        if "//" in path:
            while "//" in path:
                path = path.replace("//", "/")
            return Answer(301, b"", (("Location", path),))
        methods, parts = self._route(path)
        if not methods:
            return Answer(404, b"404 page not found\n", tuple(_PLAIN.items()))
        handler = methods.get(method)
        if handler is None:
            return Answer(405)
        self._answered += 1
        request = ("X-Toxiproxy-Request-Id", f"{self._answered:020x}")
        if headers.get("user-agent", "").startswith("Mozilla/"):
            return Answer(403, b"User agent not allowed\n", (*_PLAIN.items(), request))
        try:
            answer = await handler(parts, body)
        except (Refused, BadBody) as error:
            status = error.status if isinstance(error, Refused) else 400
            text = _dump({"error": str(error), "status": status}) + b"\n"
            answer = Answer(status, text, tuple(_PLAIN.items()))
        return Answer(answer.status, answer.body, (*answer.headers, request))

    def _route(self, path: str) -> tuple[dict[str, Handler], list[str]]:
        match path.split("/")[1:]:
            case ["version"]:
                return {"GET": self._version}, []
            case ["reset"]:
                return {"POST": self._reset}, []
            case ["populate"]:
                return {"POST": self._populate}, []
            case ["proxies"]:
                return {"GET": self._list, "POST": self._create}, []
            case ["proxies", name] if name:
                update = self._update
                return {"GET": self._show, "POST": update, "PATCH": update, "DELETE": self._delete}, [name]
            case ["proxies", name, "toxics"] if name:
                return {"GET": self._toxics, "POST": self._add_toxic}, [name]
            case ["proxies", name, "toxics", toxic] if name and toxic:
                change, drop = self._update_toxic, self._delete_toxic
                return {"GET": self._toxic, "POST": change, "PATCH": change, "DELETE": drop}, [name, toxic]
        return {}, []

    # Proxies ----------------------------------------------------------------------------------

    async def _version(self, _: list[str], __: bytes) -> Answer:
        text = f'{{"version": "{VERSION}"}}\n'.encode()
        return Answer(200, text, (("Content-Type", "application/json;charset=utf-8"),))

    async def _list(self, _: list[str], __: bytes) -> Answer:
        return _json(200, {name: self._shown(name) for name in sorted(self._proxies)})

    async def _create(self, _: list[str], body: bytes) -> Answer:
        asked = fields(read(body), _PROXY, "toxiproxy.Proxy")
        for field in ("name", "upstream"):
            if not asked.get(field):
                raise Refused(400, f"missing required field: {field}")
        if asked["name"] in self._proxies:
            raise Refused(409, "proxy already exists")
        await self._make(asked)
        return _json(201, self._shown(asked["name"]))

    async def _make(self, asked: dict[str, Any]) -> None:
        name, listen, upstream = asked["name"], asked.get("listen", ""), asked["upstream"]
        proxy = Proxy(
            self._wire.loop,
            name=name,
            listen=("127.0.0.1", 0),
            upstream=_target(upstream),
            seed=self._wire.seed,
            board=self._wire.board,
        )
        self._wanted[name] = (listen, upstream)
        try:
            if asked.get("enabled", True):
                await self._start(proxy, name)
        except Refused:
            del self._wanted[name]
            raise
        self._proxies[name] = proxy

    async def _start(self, proxy: Proxy, name: str) -> None:
        listen, upstream = self._wanted[name]
        proxy.listen = _listen(listen)
        try:
            await proxy.start()
        except OSError as error:
            taken = "bind: address already in use" if error.errno is not None else str(error)
            raise Refused(500, f"listen tcp {listen}: {taken}") from error
        self._wanted[name] = (joined(proxy.listen), upstream)

    async def _show(self, parts: list[str], _: bytes) -> Answer:
        self._proxy(parts[0])
        return _json(200, self._shown(parts[0]))

    async def _update(self, parts: list[str], body: bytes) -> Answer:
        name = parts[0]
        proxy = self._proxy(name)
        asked = fields(read(body), _PROXY, "toxiproxy.Proxy")
        listen, upstream = asked.get("listen", self._wanted[name][0]), asked.get("upstream", self._wanted[name][1])
        enabled = asked.get("enabled", proxy.enabled)
        if "listen" in asked and ":" not in listen:
            raise Refused(500, f"address {listen}: missing port in address")
        if (listen, upstream) != self._wanted[name]:
            await proxy.stop()
            self._wanted[name] = (listen, upstream)
            proxy.upstream = _target(upstream)
        if enabled and not proxy.enabled:
            await self._start(proxy, name)
        elif not enabled:
            await proxy.stop()
        return _json(200, self._shown(name))

    async def _delete(self, parts: list[str], _: bytes) -> Answer:
        self._proxy(parts[0])
        await self._remove(parts[0])
        return Answer(204)

    async def _remove(self, name: str) -> None:
        proxy = self._proxies.pop(name)
        del self._wanted[name]
        await proxy.stop()

    async def _populate(self, _: list[str], body: bytes) -> Answer:
        made: list[dict[str, Any]] = []
        try:
            for each in _wanted(body):
                name = each["name"]
                if name in self._proxies and self._wanted[name] != (each.get("listen", ""), each["upstream"]):
                    await self._remove(name)
                if name not in self._proxies:
                    await self._make(each)
                made.append(self._shown(name))
        except (Refused, BadBody) as error:
            status = error.status if isinstance(error, Refused) else 400
            return _json(status, {"error": str(error), "status": status, "proxies": made or None})
        return _json(201, {"proxies": made or None})

    async def _reset(self, _: list[str], __: bytes) -> Answer:
        for name, proxy in self._proxies.items():
            if not proxy.enabled:
                await self._start(proxy, name)
            for toxic in tuple(proxy.toxics):
                proxy.remove(toxic)
        return Answer(204)

    # Toxics -----------------------------------------------------------------------------------

    async def _toxics(self, parts: list[str], _: bytes) -> Answer:
        return _json(200, _toxics_of(self._proxy(parts[0])))

    async def _add_toxic(self, parts: list[str], body: bytes) -> Answer:
        proxy = self._proxy(parts[0])
        value = read(body)
        asked = fields(value, _TOXIC, "toxics.ToxicWrapper")
        attributes(value, ())
        kind, stream = asked.get("type", ""), asked.get("stream", "downstream")
        if stream.lower() not in {"upstream", "downstream"}:
            raise Refused(400, "stream was invalid, can be either upstream or downstream")
        name = asked.get("name") or f"{kind}_{stream}"
        if kind not in ATTRIBUTES:
            raise Refused(400, "invalid toxic type")
        if kind in CALL_ATTRIBUTES and stream.lower() == "upstream":
            raise Refused(400, f"stream was invalid: {kind} acts on whole calls; leave stream out, or give downstream")
        if any(each.name == name for each in proxy.toxics):
            raise Refused(409, "toxic already exists")
        chosen = dict.fromkeys(ATTRIBUTES[kind], 0) | attributes(value, ATTRIBUTES[kind])
        _sound(kind, chosen)
        toxic = Toxic(
            name=name,
            type=kind,
            stream=stream,
            toxicity=asked.get("toxicity", 1.0),
            attributes=chosen,
        )
        proxy.add(toxic)
        return _json(200, _toxic_shown(toxic))

    async def _toxic(self, parts: list[str], _: bytes) -> Answer:
        return _json(200, _toxic_shown(self._find(parts)))

    async def _update_toxic(self, parts: list[str], body: bytes) -> Answer:
        toxic = self._find(parts)
        value = read(body)
        asked = fields(value, {"toxicity": float}, "toxics.ToxicWrapper")
        chosen = toxic.attributes | attributes(value, ATTRIBUTES[toxic.type])
        _sound(toxic.type, chosen)
        toxic.attributes = chosen
        toxic.toxicity = asked.get("toxicity", toxic.toxicity)
        self._proxy(parts[0]).update(toxic)
        return _json(200, _toxic_shown(toxic))

    async def _delete_toxic(self, parts: list[str], _: bytes) -> Answer:
        self._proxy(parts[0]).remove(self._find(parts))
        return Answer(204)

    def _proxy(self, name: str) -> Proxy:
        if name not in self._proxies:
            raise Refused(404, "proxy not found")
        return self._proxies[name]

    def _find(self, parts: list[str]) -> Toxic:
        for toxic in self._proxy(parts[0]).toxics:
            if toxic.name == parts[1]:
                return toxic
        raise Refused(404, "toxic not found")

    def _shown(self, name: str) -> dict[str, Any]:
        proxy = self._proxies[name]
        listen, upstream = self._wanted[name]
        return {
            "name": name,
            "listen": listen,
            "upstream": upstream,
            "enabled": proxy.enabled,
            "Logger": {},
            "toxics": _toxics_of(proxy),
        }


def _wanted(body: bytes) -> list[dict[str, Any]]:
    value = read(body)
    if not isinstance(value, list | None):
        raise BadBody("bad request body: json: cannot unmarshal object into Go value of type []struct")
    wanted = [fields(each, _PROXY, "toxiproxy.Proxy") for each in value or ()]
    for position, each in enumerate(wanted, start=1):
        for field in ("name", "upstream"):
            if not each.get(field):
                raise Refused(400, f"missing required field: {field} at proxy {position}")
    return wanted


def _sound(kind: str, chosen: dict[str, int]) -> None:
    reason = refusal(kind, chosen)
    if reason is not None:
        raise Refused(400, reason)


def _toxics_of(proxy: Proxy) -> list[dict[str, Any]]:
    upstream_first = sorted(proxy.toxics, key=lambda toxic: toxic.direction == "downstream")
    return [_toxic_shown(toxic) for toxic in upstream_first]


def _toxic_shown(toxic: Toxic) -> dict[str, Any]:
    toxicity = int(toxic.toxicity) if toxic.toxicity == int(toxic.toxicity) else toxic.toxicity
    return {
        "attributes": toxic.attributes,
        "name": toxic.name,
        "type": toxic.type,
        "stream": toxic.stream,
        "toxicity": toxicity,
    }


def _listen(listen: str) -> Address:
    host, colon, port = listen.rpartition(":")
    if not listen:
        return ("127.0.0.1", 0)
    if not colon or not port.isdecimal():
        raise Refused(500, f"listen tcp: address {listen}: missing port in address")
    return (host.strip("[]") or "127.0.0.1", int(port))


def _target(upstream: str) -> Address:
    """Where to dial; an upstream that is none is kept, and every dial to it fails, as Toxiproxy has it."""
    host, _, port = upstream.rpartition(":")
    return (host.strip("[]") or "127.0.0.1", int(port) if port.isdecimal() else 0)


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _json(status: int, value: Any) -> Answer:
    return Answer(status, _dump(value), tuple(_JSON.items()))
