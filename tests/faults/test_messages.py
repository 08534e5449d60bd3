"""The reader of HTTP/1.1: to the byte, the same however the stream arrives, and strict."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from licensing_harness.faults.messages import MOST_HEAD, MOST_LINE, Kind, Reader, begins_request

Shape = list[tuple[str, bytes]]


def read(parts: list[bytes], *, answers: bool, methods: tuple[str, ...] = ()) -> tuple[Shape, bytes]:
    """What the pieces are, with neighbouring ones of a body as one, and all bytes put together again."""
    reader = Reader(answers=answers)
    asked = iter(methods)
    if methods:
        reader.method = next(asked)
    shape: Shape = []
    raw = b""

    def take() -> None:
        nonlocal raw
        while (piece := reader.take()) is not None:
            raw += piece.raw
            grows = piece.kind in {Kind.BODY, Kind.OPAQUE} and shape and shape[-1][0] == piece.kind.value
            if grows:
                shape[-1] = (piece.kind.value, shape[-1][1] + piece.raw)
            else:
                shape.append((piece.kind.value, piece.raw))
            if piece.kind is Kind.END:
                reader.method = next(asked, "GET")

    for part in parts:
        reader.feed(part)
        take()
    last = reader.over()
    if last is not None:
        raw += last.raw
        shape.append((last.kind.value, last.raw))
    return shape, raw


TOKEN = st.sampled_from([b"Host", b"x-a", b"Content-Type", b"Connection", b"Accept", b"Via"])
VALUE = st.sampled_from([b"", b"a", b"keep-alive", b"text/html; charset=utf-8", b"\xe9", b'"q, r"', b"close"])
FIELDS = st.lists(st.builds(lambda name, value: b"%s: %s\r\n" % (name, value), TOKEN, VALUE), max_size=3).map(b"".join)
BODY = st.binary(max_size=40)


@st.composite
def framed(draw: st.DrawFn) -> bytes:
    """Header fields and a body, of one of the ways in which a body is framed."""
    fields, body = draw(FIELDS), draw(BODY)
    if draw(st.booleans()):
        return fields + b"Content-Length: %d\r\n\r\n" % len(body) + body
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=3)))
    chunks = [body[a:b] for a, b in itertools.pairwise([0, *cuts, len(body)]) if b > a]
    extension = draw(st.sampled_from([b"", b";a=b", b" ;q"]))
    lines = b"".join(b"%x%s\r\n%s\r\n" % (len(each), extension, each) for each in chunks)
    trailers = draw(st.sampled_from([b"", b"X-Sum: 1\r\n"]))
    return fields + b"Transfer-Encoding: chunked\r\n\r\n" + lines + b"0\r\n" + trailers + b"\r\n"


REQUEST = st.one_of(
    st.builds(
        lambda method, rest: method + b" /a?b=c HTTP/1.1\r\n" + rest, st.sampled_from([b"POST", b"PUT"]), framed()
    ),
    FIELDS.map(lambda fields: b"GET / HTTP/1.0\r\n" + fields + b"\r\n"),
)
ANSWER = st.one_of(
    framed().map(lambda rest: b"HTTP/1.1 200 OK\r\n" + rest),
    st.just(b"HTTP/1.1 204 No Content\r\n\r\n"),
    st.just(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
)
NOISE = st.one_of(
    st.just(b""),
    st.binary(max_size=30),
    st.sampled_from(
        [b"GET / HTTP/1.1\nHost: a\n\n", b"POST / HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\n", b"\r\n", b"GET /"]
    ),
)


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({min(cut, len(stream)) for cut in cuts})
    return [stream[a:b] for a, b in itertools.pairwise([0, *at, len(stream)])]


CUTS = st.lists(st.integers(0, 400), max_size=12)


@given(st.lists(REQUEST, max_size=3), NOISE, CUTS)
@example([b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"], b"\r\r\n", [1])
def test_any_split_of_requests_reads_the_same(requests: list[bytes], noise: bytes, cuts: list[int]) -> None:
    """Whole, byte by byte, and cut anywhere: the same pieces, and not a byte more or less."""
    stream = b"".join(requests) + noise
    whole = read([stream], answers=False)
    assert whole[1] == stream
    assert read(split(stream, cuts), answers=False) == whole
    assert read([stream[n : n + 1] for n in range(len(stream))], answers=False) == whole
    ends = [kind for kind, _ in whole[0]].count("end")
    assert ends >= len(requests)


@given(st.lists(ANSWER, max_size=3), NOISE, CUTS)
def test_any_split_of_answers_reads_the_same(answers: list[bytes], noise: bytes, cuts: list[int]) -> None:
    """As requests."""
    stream = b"".join(answers) + noise
    whole = read([stream], answers=True)
    assert whole[1] == stream
    assert read(split(stream, cuts), answers=True) == whole
    assert read([stream[n : n + 1] for n in range(len(stream))], answers=True) == whole
    assert [kind for kind, _ in whole[0]].count("end") >= len(answers)


@given(st.binary(max_size=200), CUTS)
def test_no_bytes_are_lost_whatever_they_are(stream: bytes, cuts: list[int]) -> None:
    """Anything at all comes out as it went in."""
    for answers in (False, True):
        whole = read([stream], answers=answers)
        assert whole[1] == stream
        assert read(split(stream, cuts), answers=answers) == whole


@given(BODY, CUTS)
def test_a_body_is_what_was_framed(body: bytes, cuts: list[int]) -> None:
    """The body's pieces, without what frames them, are the body."""
    chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    shape, _ = read(split(chunked, cuts), answers=False)
    assert b"".join(raw for kind, raw in shape if kind == "body") == body


def kinds(stream: bytes, *, answers: bool = True, methods: tuple[str, ...] = ()) -> list[str]:
    return [kind for kind, _ in read([stream], answers=answers, methods=methods)[0]]


@pytest.mark.parametrize(
    ("stream", "method", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", ["head", "end"]),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", ["head", "end"]),
        (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", ["head", "end"]),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", "GET", ["head", "block", "body", "end"]),
        (b"HTTP/1.0 200\r\n\r\n", "GET", ["head", "block", "end"]),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", ["head", "end"]),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab", "GET", ["head", "block", "body", "end"]),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "GET", ["head", "opaque"]),
        (b"HTTP/1.1 200 OK\r\n\r\nanything", "CONNECT", ["head", "opaque"]),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "GET", ["head", "head", "end"]),
    ],
)
def test_answers_are_framed_by_what_was_asked(stream: bytes, method: str, expected: list[str]) -> None:
    """RFC 9112, 6.3."""
    assert kinds(stream, methods=(method,)) == expected


@pytest.mark.parametrize(
    "stream",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\nB: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: %s\r\n\r\n" % (b"x" * MOST_HEAD),
    ],
)
def test_what_is_not_surely_an_answer_is_opaque(stream: bytes) -> None:
    """Nothing of it is taken for a message, whole or byte by byte."""
    assert kinds(stream) == ["opaque"]
    assert read([stream[n : n + 1] for n in range(len(stream))], answers=True) == read([stream], answers=True)


@pytest.mark.parametrize(
    "line", [b"x\r\n", b"-1\r\n", b"0x5\r\n", b" 5\r\n", b"5\n", b"5;" + b"a" * MOST_LINE + b"\r\n"]
)
def test_a_chunk_that_is_none_makes_the_rest_opaque(line: bytes) -> None:
    """What came before it was passed; what follows passes too, but is no body."""
    stream = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n" + line + b"hello\r\n"
    assert kinds(stream) == ["head", "block", "body", "frame", "opaque"]


def test_a_head_of_the_largest_size_is_read() -> None:
    """One byte more is opaque."""
    start, end = b"GET / HTTP/1.1\r\nA: ", b"\r\n\r\n"
    head = start + b"x" * (MOST_HEAD - len(start) - len(end)) + end
    assert kinds(head, answers=False) == ["head", "end"]
    assert kinds(head.replace(b"xx", b"xxx", 1), answers=False) == ["opaque"]


@pytest.mark.parametrize("stream", [b"GET", b"GET ", b"GET /", b"GET / HTTP/1.1\r", b"M-SEARCH * HTTP/1.1\r\n"])
def test_the_beginning_of_a_request_is_seen(stream: bytes) -> None:
    """As much of it as came."""
    assert begins_request(stream)


@pytest.mark.parametrize(
    "stream", [b"", b"get / HTTP/1.1\r\n", b"\x16\x03\x01", b"PING\r\n", b"GET / HTTP/2\r\n", b"{}"]
)
def test_what_begins_no_request_is_seen(stream: bytes) -> None:
    """Another protocol is left alone from its first bytes on."""
    assert not begins_request(stream)


def test_a_message_is_passed_before_it_is_whole() -> None:
    """Only a head is waited for: what is there of a body comes at once."""
    reader = Reader(answers=True)
    reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc")
    pieces = []
    while (piece := reader.take()) is not None:
        pieces.append(piece.raw)
    assert pieces[1:] == [b"ff\r\n", b"abc"]
    assert reader.waiting == 0


@pytest.mark.parametrize(
    "stream", [b"GET / HTTP/1.1\r\nA: b\n", b"GET / HTTP/1.1\nA: b", b"PING\r\n", b"hello", b"\r\n"]
)
def test_what_can_be_no_request_is_not_waited_for(stream: bytes) -> None:
    """It is passed at once: an end of its head might never come."""
    reader = Reader(answers=False)
    reader.feed(stream)
    piece = reader.take()
    assert piece is not None
    assert (piece.kind, piece.raw) == (Kind.OPAQUE, stream)
