"""Servers pinned to one core, wrk on another, and a small client for what has to be there first."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.bench import Skipped

CLIENTS: Final = 32

DONE: Final = """
done = function(summary, latency, requests)
  io.write(string.format('\\nJSON{"requests":%d,"microseconds":%d,"status":%d,"socket":%d,"p50":%d,"p99":%d}\\n',
    summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""
"""How a script of wrk ends: its figures as JSON."""

REPLAY: Final = (
    """
local requests, n, last = {}, 0, 0
init = function(args)
  for line in io.lines(args[1]) do
    last = last + 1
    requests[last] = wrk.format("POST", "@PATH@", {["Content-Type"] = "application/json"}, line)
  end
end
request = function()
  n = n % last + 1
  return requests[n]
end
"""
    + DONE
)
"""Sends the bodies of a file, line by line, over and over."""

ISSUE: Final = (
    """
local n = 0
local headers = {["Content-Type"] = "application/json"}
local body, prefix
init = function(args)
  headers["Authorization"], prefix, body = "Bearer " .. args[1], args[2], args[3]
end
request = function()
  n = n + 1
  headers["Idempotency-Key"] = prefix .. n
  return wrk.format("POST", "/v1/licences", headers, body)
end
"""
    + DONE
)
"""Issues a new licence with every request."""


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk saw: requests a second, and how many microseconds the median and the slow ones took."""

    rate: float
    requests: int
    p50: int
    p99: int


def need_wrk() -> str:
    """The path of wrk. Raises Skipped without it."""
    path = shutil.which("wrk")
    if path is None:
        raise Skipped("wrk is not installed (Debian: apt-get install wrk)")
    return path


def wrk(url: str, script: Path, seconds: float, core: int, *arguments: str) -> Load:
    """Load ``url`` from one core with 32 connections. Raises RuntimeError for any answer but 2xx and 3xx."""
    command = ["taskset", "-c", str(core), need_wrk(), "-t1", f"-c{CLIENTS}", f"-d{seconds:g}s", "-s", str(script), url]
    done = subprocess.run([*command, "--", *arguments], capture_output=True, text=True, check=False)
    found = next((line for line in done.stdout.splitlines() if line.startswith("JSON")), None)
    if done.returncode or found is None:
        raise RuntimeError(f"wrk failed: {done.stderr or done.stdout}")
    said = json.loads(found.removeprefix("JSON"))
    if said["status"] or said["socket"]:
        raise RuntimeError(f"{url} did not answer every request well: {said}")
    rate = said["requests"] / said["microseconds"] * 1e6
    return Load(rate, said["requests"], said["p50"], said["p99"])


@contextmanager
def serving(core: int, *command: str) -> Iterator[dict[str, Any]]:
    """A Python server on one core, until the end of the block: the JSON of its first line."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), sys.executable, *command], stdout=subprocess.PIPE, stderr=said, text=True
        )
        try:
            line = process.stdout.readline() if process.stdout is not None else ""
            if not line:
                process.wait(timeout=10)
                said.seek(0)
                raise RuntimeError(f"{' '.join(command)} did not start: {said.read()}")
            yield json.loads(line)
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used: what others do on its core is not in it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def folder() -> Iterator[Path]:
    """A folder on the disk of this checkout (``/tmp`` may be memory, which makes every commit durable at once)."""
    here = Path(".licensing").absolute()
    here.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=here, prefix="bench-") as path:
        yield Path(path)


@contextmanager
def reference(core: int, directory: Path, *options: str) -> Iterator[dict[str, Any]]:
    """The reference server on one core, with a new database in ``directory`` unless there is one."""
    database = str(directory / "server.db")
    with serving(core, "-m", "reference_server", "--port", "0", "--db", database, *options) as started:
        yield started


def ask(url: str, requests: Sequence[tuple[str, dict[str, str], Any]]) -> list[Any]:
    """The JSON answers to many POSTs ``(path, headers, body)``, in order, over 32 connections.

    Raises RuntimeError for an answer that is not 2xx.
    """
    return asyncio.run(_ask(url, requests))


async def _ask(url: str, requests: Sequence[tuple[str, dict[str, str], Any]]) -> list[Any]:
    host, port = urlsplit(url).hostname, urlsplit(url).port
    answers: list[Any] = [None] * len(requests)
    waiting = iter(range(len(requests)))

    async def client() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for number in waiting:
            path, headers, asked = requests[number]
            body = json.dumps(asked).encode()
            given = {"Host": "bench", "Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
            head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
            writer.write(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
            answers[number] = await _answer(reader)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(client() for _ in range(min(CLIENTS, len(requests)))))
    return answers


async def _answer(reader: asyncio.StreamReader) -> Any:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    body = await reader.readexactly(length)
    if not head.startswith(b"http/1.1 2"):
        raise RuntimeError(f"{head.splitlines()[0]!r}: {body[:200]!r}")
    return json.loads(body)


def licences(url: str, api_token: str, count: int) -> list[dict[str, Any]]:
    """So many new licences."""
    asked: list[tuple[str, dict[str, str], Any]] = [
        (
            "/v1/licences",
            {"Authorization": f"Bearer {api_token}", "Idempotency-Key": f"bench-{number}"},
            {"plan": "team", "seats": 3, "features": ["base", "sync"], "duration": None, "customer": f"c{number}"},
        )
        for number in range(count)
    ]
    return [answer["licence"] for answer in ask(url, asked)]


def tokens(url: str, sold: Sequence[dict[str, Any]], each: int) -> list[str]:
    """``each`` new access tokens for every licence: the first round of all licences, then the second, ..."""
    asked: list[tuple[str, dict[str, str], Any]] = [
        ("/v1/tokens", {}, {"key": licence["key"]}) for _ in range(each) for licence in sold
    ]
    return [answer["token"] for answer in ask(url, asked)]
