"""How live clients reach their target: a loopback port each, and Toxiproxy between when there is an outage.

    client -> its own link (cuts, faults of whole calls, counts) -> [Toxiproxy's proxy (toxics)] -> target

Toxiproxy joins the route when the first outage asks for it, and stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final

from licensing_harness.clock import Clock
from licensing_harness.errors import CleanUpIncomplete, HarnessError, NotRun
from licensing_harness.faults.call_faults import CallFault
from licensing_harness.faults.outage import Outage
from licensing_harness.faults.server import FaultServer, find_server
from licensing_harness.faults.toxics import Direction
from licensing_harness.faults.toxiproxy import ToxiproxyClient
from licensing_harness.faults.wire import Address, Cut, Proxy, Wire
from licensing_harness.target.guard import Endpoint, check_target

ALL_CLIENTS: Final = "clients"
"""The links of all clients, as a fault plan names them: ``clients->server``."""
_TLS: Final = "needs plain HTTP: the fault proxy can't see into TLS"


class Link:
    """One client's own port to the target. Without a wire (https) it is the target itself."""

    def __init__(self, name: str, endpoint: Endpoint, wire: Wire, proxy: Proxy | None) -> None:
        self.name = name
        """The client's."""
        self._endpoint = endpoint
        self._wire = wire
        self._proxy = proxy

    @property
    def url(self) -> str:
        """The base URL for this client."""
        if self._proxy is None:
            return self._endpoint.url
        return f"http://127.0.0.1:{self._proxy.listen[1]}{self._endpoint.path}"

    def arm(self, what: Cut) -> None:
        """Cut the next request or its answer. Raises NotRun where the wire can't be cut."""
        proxy = self._cuttable()
        self._wire.call(lambda: proxy.arm(what))

    def disarm(self) -> int:
        """Forget the cut; how often it was met."""
        proxy = self._cuttable()
        return self._wire.call(proxy.disarm)

    def add(self, fault: CallFault) -> None:
        """Let a fault fall on the client's calls. Raises NotRun where the wire can't be read."""
        proxy = self._cuttable()
        self._wire.call(lambda: proxy.add_call_fault(fault))

    def remove(self, fault: CallFault) -> bool:
        """Take a fault away and see that it is gone; whether it was there until now."""
        proxy = self._cuttable()

        def take() -> bool:
            there = fault in proxy.call_faults
            if there:
                proxy.remove_call_fault(fault)
            return there and fault not in proxy.call_faults

        return self._wire.call(take)

    @property
    def waiting(self) -> bool:
        """Whether a fault holds back a request of any client that it falls on."""
        return self._proxy is not None and any(fault.holding for fault in self._proxy.call_faults)

    def drop(self) -> None:
        """Close the client's connections, so that a call that hangs on one ends."""
        if self._proxy is not None:
            self._wire.call(self._proxy.drop)

    @property
    def requests(self) -> int:
        """How many requests the client began to send."""
        return 0 if self._proxy is None else self._proxy.requests

    @property
    def unreachable(self) -> int:
        """How many of the client's connections found nobody at the other end."""
        return 0 if self._proxy is None else self._proxy.unreachable

    def ended(self, by: Direction) -> int:
        """How many connections the client (``upstream``) or the other end (``downstream``) ended."""
        return 0 if self._proxy is None else self._proxy.ended[by]

    def lead(self, upstream: Address) -> None:
        """From now on lead to ``upstream``."""
        proxy = self._cuttable()

        def turn() -> None:
            proxy.upstream = upstream
            proxy.drop()

        self._wire.call(turn)

    def _cuttable(self) -> Proxy:
        if self._proxy is None:
            raise NotRun(_TLS)
        return self._proxy


class Route:
    """All links of a run, and the Toxiproxy between them and the target once there was an outage."""

    def __init__(
        self, endpoint: Endpoint, *, faults: str, allow: tuple[str, ...], seed: int, tag: str, clock: Clock
    ) -> None:
        self._endpoint = endpoint
        self._faults = faults
        self._allow = allow
        self._name = "licensing-" + re.sub(r"[^A-Za-z0-9._-]", "-", tag)
        self._clock = clock
        self._upstream: Address = (endpoint.address, endpoint.port)
        self._links: list[Link] = []
        self._call_faults: dict[CallFault, str] = {}
        """Faults of calls that are on, and whose calls they fall on."""
        self._server: FaultServer | None = None
        self._client: ToxiproxyClient | None = None
        self._wire = Wire(seed=seed)

    def link(self, name: str) -> Link:
        """A new client's link."""
        proxy = None
        if self._endpoint.scheme == "http":
            proxy = self._wire.open(name=name, upstream=self._upstream, watches=True)
        link = Link(name, self._endpoint, self._wire, proxy)
        for fault, client in self._call_faults.items():
            if client in {ALL_CLIENTS, name}:
                link.add(fault)
        self._links.append(link)
        return link

    def break_calls(self, fault: CallFault, client: str) -> None:
        """Let a fault fall on the calls of one client, or of all; on those of clients to come too.

        Raises NotRun for https.
        """
        if self._endpoint.scheme != "http":
            raise NotRun(_TLS)
        for link in self._chosen(client):
            link.add(fault)
        self._call_faults[fault] = client

    def mend_calls(self, fault: CallFault) -> None:
        """Take it away again, and see that it is gone from every link.

        Raises HarnessError when it was gone before, CleanUpIncomplete when it can't be removed.
        """
        client = self._call_faults.pop(fault, None)
        try:
            there = [link.remove(fault) for link in self._chosen(client or "")]  # from all, whatever one says
        except HarnessError as error:
            message = f"the fault {fault.toxic.name} could not be taken from the clients' links: {error}"
            raise CleanUpIncomplete(message) from error
        if client is None or not all(there):
            message = f"the fault {fault.toxic.name} was gone from the clients' links before it was over"
            raise HarnessError(message)

    def _chosen(self, client: str) -> list[Link]:
        return [link for link in self._links if client in {ALL_CLIENTS, link.name}]

    @property
    def links(self) -> tuple[Link, ...]:
        """The clients' links so far."""
        return tuple(self._links)

    @property
    def requests(self) -> int:
        """How many requests all clients began to send."""
        return sum(link.requests for link in self._links)

    @property
    def unreachable(self) -> int:
        """How many connections of all clients found nobody at the other end."""
        return sum(link.unreachable for link in self._links)

    def ended(self, by: Direction) -> int:
        """How many connections the clients (``upstream``) or the other end (``downstream``) ended."""
        return sum(link.ended(by) for link in self._links)

    @property
    def open(self) -> bool:
        """Whether Toxiproxy is part of the route."""
        return self._server is not None

    @property
    def kind(self) -> str:
        """Which Toxiproxy it is."""
        return "" if self._server is None else self._server.kind

    def open_toxiproxy(self) -> None:
        """Put Toxiproxy between the links and the target; closes the clients' connections.

        Raises NotRun for https and when faults are off, UsageError and
        HarnessError when there is no usable Toxiproxy.
        """
        if self._server is not None:
            return
        if self._endpoint.scheme != "http":
            raise NotRun(_TLS)
        if "://" in self._faults:
            check_target(self._faults, allow=self._allow)
        with ExitStack() as undo:
            server = undo.enter_context(find_server(self._faults, self._wire, self._clock))
            client = undo.enter_context(server.client())
            host = f"[{self._upstream[0]}]" if ":" in self._upstream[0] else self._upstream[0]
            listening = client.create(name=self._name, upstream=f"{host}:{self._upstream[1]}").listen
            undo.callback(client.destroy, self._name)
            self._upstream = (server.address[0], int(listening.rpartition(":")[2]))
            for link in self._links:
                link.lead(self._upstream)
            undo.pop_all()
        self._server, self._client = server, client

    def outage(self, kind: str, *, stream: str, parameters: Mapping[str, float]) -> Outage:
        """An outage of the whole wire, not yet set."""
        if self._server is None or self._client is None:
            message = "Toxiproxy is not part of the route yet"
            raise HarnessError(message)
        return Outage(self._server, self._client, self._name, kind, stream=stream, parameters=parameters)

    def drop(self) -> None:
        """Close every client's connections: new ones meet what was set since."""
        for link in self._links:
            link.drop()

    def close(self) -> None:
        """Remove our proxy from Toxiproxy, and end what we started.

        Raises CleanUpIncomplete when something could not be removed.
        """
        with ExitStack() as stack:
            stack.callback(self._wire.close)
            if self._server is not None and self._client is not None:
                stack.callback(self._server.close)
                stack.callback(self._client.close)
                server, client = self._server, self._client
                self._server = self._client = None
                try:
                    client.destroy(self._name)
                except HarnessError as error:
                    message = f"the proxy {self._name} is still in Toxiproxy ({server.kind}): {error}"
                    raise CleanUpIncomplete(message) from error
