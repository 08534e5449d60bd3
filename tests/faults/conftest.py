"""A wire, a target to forward to, and both kinds of Toxiproxy."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from echo_server import Echo
from line import Line

from licensing_harness.clock import RealClock
from licensing_harness.faults.server import FaultServer, find_binary, find_server
from licensing_harness.faults.wire import Wire


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire(seed=7) as made:
        yield made


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture(params=["embedded", "toxiproxy"])
def fault_server(request: pytest.FixtureRequest, wire: Wire) -> Iterator[FaultServer]:
    if request.param == "toxiproxy" and find_binary() is None:
        message = "no toxiproxy-server on PATH or in Go's bin directory"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with find_server(request.param, wire, RealClock()) as server:
        yield server


@pytest.fixture
def line(fault_server: FaultServer) -> Iterator[Line]:
    made_line = Line(fault_server)
    yield made_line
    made_line.close()
