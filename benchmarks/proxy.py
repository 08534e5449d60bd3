"""The embedded fault proxy against Toxiproxy 2.12: in turns, as processes of their own, without a toxic and with one.

The latency toxic of 0 ms is the least that makes every chunk go through the
chain of toxics. For ``p50`` the proxy, its client and the target share one
core; for the others the proxy has a core of its own.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.bench import Row, Skipped, in_turns, median_ratio, row, two_cores
from benchmarks.servers import CLIENTS, DONE, folder, serving, wrk
from licensing_harness.clock import RealClock
from licensing_harness.faults.server import find_binary

ROUNDS: Final = 5
TRIPS: Final = 2000
BULK: Final = 200_000_000
CONNECTIONS: Final = 800
LOAD_SECONDS: Final = 1.0
IDLE: Final = 1000
CLOCK: Final = RealClock()


@dataclass
class Server:
    """A Toxiproxy API on one core, and its process."""

    port: int
    pid: int
    core: int
    doors: dict[str, int] = field(default_factory=dict)
    """Ports that lead to the target: ``plain``, and ``latency`` with a toxic."""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer. Raises RuntimeError for an error."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, body=None if body is None else json.dumps(body))
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 300:  # noqa: PLR2004 - a class of statuses
            raise RuntimeError(f"{method} {path}: {answer.status} {text!r}")
        return json.loads(text) if text else None

    def lead(self, target: int) -> None:
        """Open both doors to the target."""
        for name in ("plain", "latency"):
            asked = {"name": name, "listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{target}"}
            self.doors[name] = int(self.ask("POST", "/proxies", asked)["listen"].rpartition(":")[2])
        for stream in ("upstream", "downstream"):
            asked = {"type": "latency", "stream": stream, "name": stream, "attributes": {"latency": 0}}
            self.ask("POST", "/proxies/latency/toxics", asked)

    def used(self) -> float:
        """Seconds of processor time that the process has used."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def resident(self) -> float:
        """MiB of memory that the process has."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


@contextmanager
def embedded(core: int) -> Iterator[Server]:
    """``licensing-harness proxy`` on one core."""
    command = ["taskset", "-c", str(core), sys.executable, "-m", "licensing_harness", "proxy", "--port", "0"]
    with _ended(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as process:
        line = process.stdout.readline() if process.stdout is not None else ""
        yield Server(int(line.rpartition(":")[2]), process.pid, core)


@contextmanager
def toxiproxy(core: int) -> Iterator[Server]:
    """``toxiproxy-server`` on one core. Raises Skipped where there is none."""
    path = find_binary()
    if path is None:
        raise Skipped("no toxiproxy-server on PATH or in Go's bin directory (make toxiproxy)")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ["taskset", "-c", str(core), str(path), "-port", str(port)]
    log = subprocess.DEVNULL  # its default level: it logs each connection, as it does wherever it is started
    with _ended(subprocess.Popen(command, stdout=log, stderr=log)) as process:
        server = Server(port, process.pid, core)
        for _ in range(200):
            try:
                server.ask("GET", "/version")
            except OSError:
                CLOCK.sleep(0.05)
            else:
                break
        yield server


@contextmanager
def _ended(process: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def client(what: str, port: int, count: int, core: int) -> float:
    """A figure of ``wire_client``, pinned to a core."""
    command = ["taskset", "-c", str(core), sys.executable, "-m", "benchmarks.wire_client", what, str(port), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"wire_client {what}: {done.stderr}")
    return float(json.loads(done.stdout))


def compared(
    name: str, unit: str, doors: Sequence[Server], figure: Callable[[Server], tuple[float, float]]
) -> list[Row]:
    """Both in turns: a row by the clock, and one by the processor time that each proxy used itself.

    ``figure`` gives how much was done and how much a second. What others do on
    the machine is in the first row, and not in the second.
    """

    def one(server: Server) -> tuple[float, float]:
        before = server.used()
        done, rate = figure(server)
        return rate, done / (server.used() - before)

    figures = in_turns(ROUNDS, {str(server.port): partial(one, server) for server in doors})
    ours, theirs = figures.values()
    rows = []
    for at, suffix in enumerate(("", "/cpu")):
        mine, other = ([each[at] for each in column] for column in (ours, theirs))
        shown = unit if not suffix else unit.replace("/s", "/s of its CPU")
        rows.append(row(name + suffix, median(mine), shown, median(other), median_ratio(mine, other)))
    return rows


def round_trips(core: int, door: str) -> Row:
    """What a proxy adds to the median round trip when it shares a core with its client and its target."""
    with ExitStack() as stack:
        target = stack.enter_context(serving(core, "-m", "benchmarks.wire_target"))["port"]
        servers = [stack.enter_context(make(core)) for make in (embedded, toxiproxy)]
        for each in servers:
            each.lead(target)
        doors = [target, *(each.doors[door] for each in servers)]
        calls = {str(port): partial(client, "p50", port, TRIPS, core) for port in doors}
        direct, ours, theirs = in_turns(ROUNDS, calls).values()
    added = [[each - base for each, base in zip(figures, direct, strict=True)] for figures in (ours, theirs)]
    return row(f"proxy/p50/{door}", median(added[0]), "us added", median(added[1]), median_ratio(*added))


def throughput(own: int, other: int, door: str) -> list[Row]:
    """Bytes, requests and connections a second, with the proxy on a core of its own."""
    rows: list[Row] = []
    with ExitStack() as stack:
        script = stack.enter_context(folder()) / "wrk.lua"
        script.write_text(DONE)
        target = stack.enter_context(serving(other, "-m", "benchmarks.wire_target"))["port"]
        ours, theirs = (stack.enter_context(make(own)) for make in (embedded, toxiproxy))
        for each in (ours, theirs):
            each.lead(target)

        def requests(server: Server) -> tuple[float, float]:
            load = wrk(f"http://127.0.0.1:{server.doors[door]}/", script, LOAD_SECONDS, other)
            return load.requests, load.rate

        def bulk(server: Server) -> tuple[float, float]:
            return BULK / 1e6, client("bulk", server.doors[door], BULK, other)

        def connections(server: Server) -> tuple[float, float]:
            return CONNECTIONS, client("connections", server.doors[door], CONNECTIONS, other)

        both = (ours, theirs)
        rows += compared(f"proxy/bulk/{door}", "MB/s", both, bulk)
        rows += compared(f"proxy/requests/{door}", f"/s, {CLIENTS} connections", both, requests)
        rows += compared(f"proxy/connections/{door}", "/s", both, connections)
    return rows


def idle(own: int, other: int) -> Row:
    """The memory of the proxy's process with a thousand connections on which nothing is said."""
    with ExitStack() as stack:
        target = stack.enter_context(serving(other, "-m", "benchmarks.wire_target"))["port"]
        ours, theirs = (stack.enter_context(make(own)) for make in (embedded, toxiproxy))
        used = []
        for server in (ours, theirs):
            server.lead(target)
            for _ in range(IDLE):
                one = stack.enter_context(socket.create_connection(("127.0.0.1", server.doors["plain"]), timeout=10))
                one.sendall(b"GET / HTTP/1.1\r\n\r\n")
                if not one.recv(4096):
                    raise RuntimeError("the connection was closed")
            used.append(server.resident())
    return row("proxy/idle", used[0], f"MiB, {IDLE} connections", used[1])


def measure() -> list[Row]:
    """All rows. Raises Skipped without Toxiproxy, wrk or a second core."""
    if find_binary() is None:
        raise Skipped("no toxiproxy-server on PATH or in Go's bin directory (make toxiproxy)")
    own, other = two_cores()
    rows = [round_trips(other, door) for door in ("plain", "latency")]
    for door in ("plain", "latency"):
        rows += throughput(own, other, door)
    return [*rows, idle(own, other)]
