"""How toxics shape a stream: the same on the embedded server and on a real Toxiproxy 2.12."""

from __future__ import annotations

import threading

import pytest
from line import BOTH, FOREVER, Line, at_least, exactly, passes, quiet, to_the_end

# Latency ------------------------------------------------------------------------------------------


@BOTH
def test_latency_delays_data(line: Line, stream: str) -> None:
    """Bytes arrive no sooner than the latency, and in order in spite of jitter."""
    line.toxic("latency", stream, latency=150, jitter=50)
    source, sink = line.ends(stream)
    sent = b"".join(b"%03d" % number for number in range(100))
    with at_least(0.09):
        for begin in range(0, len(sent), 30):
            source.sendall(sent[begin : begin + 30])
        assert exactly(sink, 1) == sent[:1]
    assert exactly(sink, len(sent) - 1) == sent[1:]


@BOTH
def test_latency_does_not_delay_an_end(line: Line, stream: str) -> None:
    """A connection on which nothing was said ends at once."""
    line.toxic("latency", stream, latency=FOREVER)
    source, sink = line.ends(stream)
    source.close()
    assert sink.recv(1) == b""


@BOTH
def test_removed_latency_lets_go(line: Line, stream: str) -> None:
    """What was kept back arrives when the toxic is removed."""
    path = line.toxic("latency", stream, latency=FOREVER)
    source, sink = line.ends(stream)
    source.sendall(b"hello")
    quiet(sink)
    line.ok("DELETE", path)
    assert exactly(sink, 5) == b"hello"
    passes(source, sink)


# Bandwidth ----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(("rate", "size", "seconds"), [(20, 7000, 0.33), (10, 900, 0.08)])
def test_bandwidth_takes_its_time(line: Line, stream: str, rate: int, size: int, seconds: float) -> None:
    """Bytes, in pieces or in one, take as long as the rate says; the end follows the last of them."""
    line.toxic("bandwidth", stream, rate=rate)
    source, sink = line.ends(stream)
    with at_least(seconds):
        source.sendall(b"x" * size)
        source.close()
        assert to_the_end(sink) == b"x" * size


@BOTH
def test_bandwidth_zero_stalls_until_it_is_removed(line: Line, stream: str) -> None:
    """Nothing passes and nothing is lost."""
    path = line.toxic("bandwidth", stream, rate=0)
    source, sink = line.ends(stream)
    source.sendall(b"x" * 100_000)
    quiet(sink)
    line.ok("DELETE", path)
    assert exactly(sink, 100_000) == b"x" * 100_000
    passes(source, sink)


@BOTH
def test_bandwidth_is_changed_on_an_open_connection(line: Line, stream: str) -> None:
    """A stalled connection goes on when the rate is raised."""
    path = line.toxic("bandwidth", stream, rate=0)
    source, sink = line.ends(stream)
    source.sendall(b"x" * 50_000)
    quiet(sink)
    assert line.ok("PATCH", path, {"attributes": {"rate": 10_000}})["attributes"] == {"rate": 10_000}
    assert exactly(sink, 50_000) == b"x" * 50_000


@BOTH
def test_a_toxic_leaves_the_other_direction_alone(line: Line, stream: str) -> None:
    """A stall one way does not touch the other way."""
    line.toxic("bandwidth", stream, rate=0)
    source, sink = line.ends(stream)
    passes(sink, source)
    source.sendall(b"a")
    passes(sink, source)
    quiet(sink, 0.05)


# Slow close ---------------------------------------------------------------------------------------


@BOTH
def test_slow_close_delays_the_end_alone(line: Line, stream: str) -> None:
    """Data passes as before; the end comes after the delay."""
    line.toxic("slow_close", stream, delay=300)
    source, sink = line.ends(stream)
    passes(source, sink)
    with at_least(0.28):
        source.close()
        assert sink.recv(1) == b""


@BOTH
def test_removing_slow_close_ends_at_once(line: Line, stream: str) -> None:
    """An end that waits goes on when the toxic is removed."""
    path = line.toxic("slow_close", stream, delay=FOREVER)
    source, sink = line.ends(stream)
    passes(source, sink)
    source.close()
    quiet(sink)
    line.ok("DELETE", path)
    assert sink.recv(1) == b""


@BOTH
def test_slow_close_leaves_the_other_end_alone(line: Line, stream: str) -> None:
    """Whoever receives in that direction may close, and the other sees it at once."""
    line.toxic("slow_close", stream, delay=FOREVER)
    source, sink = line.ends(stream)
    sink.close()
    assert source.recv(1) == b""


# Slicer -------------------------------------------------------------------------------------------


@BOTH
def test_slicer_cuts_and_waits(line: Line, stream: str) -> None:
    """A thousand bytes are halved into sixteen pieces, 10 ms after each, and arrive in order."""
    line.toxic("slicer", stream, average_size=100, size_variation=0, delay=10_000)
    source, sink = line.ends(stream)
    sent = b"".join(b"%04d" % number for number in range(250))
    got, reads = b"", 0
    with at_least(0.14):
        source.sendall(sent)
        while len(got) < len(sent):
            got += sink.recv(65536)
            reads += 1
    assert got == sent
    assert reads > 1


@BOTH
@pytest.mark.parametrize("variation", [1, 5, 10])
def test_slicer_loses_nothing(line: Line, stream: str, variation: int) -> None:
    """Whatever the variation, all bytes arrive in order, and then the end."""
    line.toxic("slicer", stream, average_size=10, size_variation=variation, delay=0)
    source, sink = line.ends(stream)
    sent = b"".join(b"%05d" % number for number in range(4000))
    writer = threading.Thread(target=lambda: (source.sendall(sent), source.close()))
    writer.start()
    assert to_the_end(sink) == sent
    writer.join()


@BOTH
def test_removing_a_slicer_lets_go(line: Line, stream: str) -> None:
    """The pieces that waited arrive when the toxic is removed."""
    path = line.toxic("slicer", stream, average_size=1, size_variation=0, delay=FOREVER * 1000)
    source, sink = line.ends(stream)
    source.sendall(b"abcdefghij")
    assert exactly(sink, 1) == b"a"
    quiet(sink)
    line.ok("DELETE", path)
    assert exactly(sink, 9) == b"bcdefghij"


# Limit data ---------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(("limit", "size"), [(100, 250), (100, 100), (1, 70_000), (0, 1), (-5, 10)])
def test_limit_data_passes_exactly_so_many_bytes(line: Line, stream: str, limit: int, size: int) -> None:
    """So many bytes pass, then the connection ends; without data it stays open."""
    line.toxic("limit_data", stream, bytes=limit)
    source, sink = line.ends(stream)
    quiet(sink, 0.05)
    source.sendall(b"x" * size)
    assert to_the_end(sink) == b"x" * max(limit, 0)


def test_limit_data_counts_by_connection(line: Line) -> None:
    """Each connection has the whole limit."""
    line.toxic("limit_data", bytes=10)
    for _ in range(3):
        source, sink = line.ends("downstream")
        source.sendall(b"0123456789abc")
        assert to_the_end(sink) == b"0123456789"


@BOTH
@pytest.mark.parametrize(("limit", "more"), [(8, b"gh"), (10, b"ghij"), (6, b""), (2, b"")])
def test_limit_datas_count_survives_an_update(line: Line, stream: str, limit: int, more: bytes) -> None:
    """Bytes that passed before an update count against the new limit."""
    path = line.toxic("limit_data", stream, bytes=100)
    source, sink = line.ends(stream)
    passes(source, sink, b"abcdef")
    line.ok("POST", path, {"attributes": {"bytes": limit}})
    source.sendall(b"ghijklmnop")
    assert to_the_end(sink) == more
