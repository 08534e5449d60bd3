"""The seam to toxiproxy-python: its defects stay outside, against both kinds of server and a lying one."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import toxiproxy
from echo_server import Echo, connect

from licensing_harness.clock import RealClock
from licensing_harness.errors import HarnessError, NotRun, UsageError
from licensing_harness.faults import server as servers
from licensing_harness.faults.server import FaultServer, find_binary, find_server
from licensing_harness.faults.toxiproxy import (
    ToxiproxyClient,
    ToxiproxyDiffers,
    ToxiproxyRefused,
    ToxiproxyUnreachable,
)
from licensing_harness.faults.wire import Wire


@pytest.fixture
def client(fault_server: FaultServer) -> Iterator[ToxiproxyClient]:
    with fault_server.client() as made:
        yield made


def upstream(echo: Echo) -> str:
    return f"127.0.0.1:{echo.address[1]}"


def test_a_proxy_through_the_package(client: ToxiproxyClient, echo: Echo) -> None:
    """Create, disable, enable and destroy are each read back."""
    made = client.create(name="p", upstream=upstream(echo))
    assert type(made).__module__ == "toxiproxy.proxy"
    host, _, port = made.listen.rpartition(":")
    client.disable("p")
    with pytest.raises(ConnectionRefusedError):
        connect((host, int(port)))
    client.enable("p")
    with connect((host, int(port))) as one:
        assert one.ask(b"a") == b"A"
    client.destroy("p")
    assert client.proxies() == {}
    assert client.version()


def test_toxics_through_the_package(client: ToxiproxyClient, echo: Echo) -> None:
    """Add, update and remove are each read back; reset leaves none."""
    client.create(name="p", upstream=upstream(echo))
    added = client.add_toxic("p", name="slow", type="latency", stream="upstream", attributes={"latency": 5})
    assert added.attributes == {"latency": 5, "jitter": 0}
    assert client.update_toxic("p", "slow", jitter=3).attributes == {"latency": 5, "jitter": 3}
    client.remove_toxic("p", "slow")
    assert client.toxics("p") == {}
    client.add_toxic("p", name="hole", type="timeout", toxicity=0.5)
    client.disable("p")
    client.reset()
    assert client.toxics("p") == {}
    assert client.proxy("p").enabled


def test_populate_is_one_call(client: ToxiproxyClient, echo: Echo) -> None:
    """Populate makes all proxies at once, and a second time changes nothing."""
    wanted = [{"name": name, "upstream": upstream(echo), "listen": "127.0.0.1:0"} for name in ("a", "b")]
    assert sorted(client.populate(wanted)) == ["a", "b"]


def test_errors_are_typed(client: ToxiproxyClient, echo: Echo) -> None:
    """A status of 400 and more raises with the status, 5xx included, which the package reads as success."""
    made = client.create(name="p", upstream=upstream(echo))
    with pytest.raises(ToxiproxyRefused) as bad:
        client.add_toxic("p", name="x", type="nonsense")
    assert bad.value.status == 400
    client.disable("p")
    host, _, port = made.listen.rpartition(":")
    with socket.create_server((host, int(port))):
        with pytest.raises(ToxiproxyRefused, match="address already in use") as taken:
            client.enable("p")
        with pytest.raises(ToxiproxyRefused):
            client.reset()
    assert taken.value.status == 500
    assert isinstance(taken.value, HarnessError)
    with pytest.raises(ToxiproxyDiffers, match="shows no proxy 'q'"):
        client.disable("q")
    with pytest.raises(ToxiproxyRefused) as missing:
        client.remove_toxic("p", "x")
    assert missing.value.status == 404


@pytest.mark.parametrize("name", ["x/y", "", "a b", "../p"])
def test_names_that_would_need_quoting_are_refused(client: ToxiproxyClient, name: str) -> None:
    """The package puts names into paths as they are."""
    with pytest.raises(UsageError, match="is no name for a proxy or toxic"):
        client.create(name=name, upstream="127.0.0.1:9")


def test_two_servers_at_once(echo: Echo) -> None:
    """Host and port belong to one client; the package's own globals are left alone."""
    before = toxiproxy.api.APIConsumer.port
    with Wire() as one, Wire() as two:
        first, second = find_server("embedded", one, RealClock()), find_server("embedded", two, RealClock())
        with first, second, first.client() as a, second.client() as b:
            a.create(name="a", upstream=upstream(echo))
            b.create(name="b", upstream=upstream(echo))
            assert (list(a.proxies()), list(b.proxies())) == (["a"], ["b"])
    assert toxiproxy.api.APIConsumer.port == before == 8474


def test_an_environment_with_a_proxy(fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY of the environment is not for Toxiproxy."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with fault_server.client() as client:
        assert client.version()


def test_a_server_that_hangs(echo: Echo) -> None:
    """A call has a deadline."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        ToxiproxyClient(*silent.getsockname(), timeout=0.2) as client,
        pytest.raises(ToxiproxyUnreachable, match=r"gave no answer to GET /version within 0.2 s"),
    ):
        client.version()


# A server that lies -------------------------------------------------------------------------------


class Liar(BaseHTTPRequestHandler):
    """Says yes to everything and shows ``shown``."""

    shown: ClassVar[dict[str, Any]] = {}
    answer: ClassVar[Callable[[str], tuple[int, str]] | None] = None

    def _go(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = type(self).answer
        status, text = answer(self.path) if answer else (200, json.dumps(self._body()))
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def _body(self) -> Any:
        if self.path.endswith("/toxics") and self.command == "GET":
            return self.shown.get("p", {}).get("toxics", [])
        if self.path == "/proxies" and self.command == "GET":
            return self.shown
        return self.shown.get("p", {})

    do_GET = do_POST = do_DELETE = _go  # noqa: N815 - the base class's names

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def liar() -> Iterator[ToxiproxyClient]:
    server = HTTPServer(("127.0.0.1", 0), Liar)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    toxic = {"name": "t", "type": "latency", "stream": "downstream", "toxicity": 1, "attributes": {"latency": 1}}
    shown = {"name": "p", "listen": "127.0.0.1:1", "upstream": "127.0.0.1:2", "enabled": True, "toxics": [toxic]}
    Liar.shown, Liar.answer = {"p": shown}, None
    with ToxiproxyClient(*server.server_address[:2]) as client:
        yield client
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda c: c.disable("p"), "enabled=False and shows True"),
        (lambda c: c.destroy("p"), "still shows the proxy 'p'"),
        (lambda c: c.remove_toxic("p", "t"), "still shows the toxic 't'"),
        (lambda c: c.reset(), "still shows toxics on 'p' after a reset: t"),
        (lambda c: c.add_toxic("p", name="u", type="latency"), "does not show the toxic 'u'"),
        (lambda c: c.add_toxic("p", name="t", type="timeout"), "type='timeout' and shows 'latency'"),
        (lambda c: c.update_toxic("p", "t", latency=9), "latency=9 and shows 1"),
        (lambda c: c.populate([{"name": "p", "upstream": "x:1"}]), "upstream='x:1' and shows '127.0.0.1:2'"),
    ],
)
def test_what_is_shown_counts(liar: ToxiproxyClient, call: Callable[[ToxiproxyClient], Any], says: str) -> None:
    """A yes that the state does not bear out is an error of the run."""
    with pytest.raises(ToxiproxyDiffers, match=says):
        call(liar)


@pytest.mark.parametrize("answer", [(200, "<html>"), (200, "[]"), (200, '{"p": {}}')])
def test_what_is_no_toxiproxy(liar: ToxiproxyClient, answer: tuple[int, str]) -> None:
    """Pages and other shapes are errors with words, not the package's KeyError."""
    Liar.answer = staticmethod(lambda path: answer)
    with pytest.raises(ToxiproxyDiffers, match="does not answer as Toxiproxy does"):
        liar.proxies()


def test_a_redirect_is_no_answer(liar: ToxiproxyClient) -> None:
    """Nothing is followed elsewhere."""
    Liar.answer = staticmethod(lambda path: (302, ""))
    with pytest.raises(ToxiproxyRefused) as caught:
        liar.proxies()
    assert caught.value.status == 302


# Which server -------------------------------------------------------------------------------------


def test_faults_off(wire: Wire) -> None:
    """``off`` is not run."""
    with pytest.raises(NotRun, match="--licensing-faults off"):
        find_server("off", wire, RealClock())


@pytest.mark.parametrize(
    "option", ["nonsense", "https://h:1", "http://", "http://u:p@h:1", "http://h:1/x", "http://h:z"]
)
def test_an_option_that_is_none(wire: Wire, option: str) -> None:
    """Anything else is a usage error that lists the choices."""
    with pytest.raises(UsageError, match=r"choose off, embedded, toxiproxy or http://HOST:8474"):
        find_server(option, wire, RealClock())


def test_a_running_server_by_url(fault_server: FaultServer, wire: Wire) -> None:
    """A URL means a server that is there; one that is not is told."""
    host, port = fault_server.address
    assert find_server(f"http://{host}:{port}", wire, RealClock()).address == (host, port)
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = free.getsockname()[1]
    with pytest.raises(ToxiproxyUnreachable):
        find_server(f"http://127.0.0.1:{nobody}", wire, RealClock())


def test_the_binary_is_looked_for(tmp_path: Path) -> None:
    """On PATH, in GOBIN, in GOPATH's bin, in the home's go/bin, in this order; nowhere is None."""

    def place(name: str) -> str:
        directory = tmp_path / name
        directory.mkdir(parents=True)
        program = directory / "toxiproxy-server"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        return str(directory)

    path, gobin, gopath, home = place("path"), place("gobin"), place("gopath/bin"), place("home/go/bin")
    known = {
        "PATH": path,
        "GOBIN": gobin,
        "GOPATH": str(tmp_path / "gopath"),
        "HOME": str(tmp_path / "home"),
    }
    for name, directory in zip(("PATH", "GOBIN", "GOPATH", "HOME"), (path, gobin, gopath, home), strict=True):
        assert find_binary(known) == Path(directory) / "toxiproxy-server"
        known[name] = str(tmp_path / "empty")
    assert find_binary(known) is None


def test_no_binary_says_how_to_get_one(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """``toxiproxy`` without a binary is a usage error with the install line."""
    monkeypatch.setattr(servers, "find_binary", lambda: None)
    with pytest.raises(UsageError, match=r"go install github\.com/Shopify/toxiproxy"):
        find_server("toxiproxy", wire, RealClock())


def test_a_binary_that_dies_is_told(wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last words are in the error, and it is not left running."""
    program = tmp_path / "toxiproxy-server"
    program.write_text("#!/bin/sh\necho broken build >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(servers, "find_binary", lambda: program)
    with pytest.raises(HarnessError, match=r"did not come up on .*: broken build"):
        find_server("toxiproxy", wire, RealClock())
