"""target.http over one blocking connection: nothing is sent twice, nothing waits for an event loop."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from licensing_harness.errors import UsageError
from licensing_harness.load.blocking import BlockingHttp, BlockingResponse, finish
from licensing_harness.target.guard import check_target
from licensing_harness.vocabulary import Allowed

YES = b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-Mark: here\r\n\r\n{"yes": 1}'


@contextmanager
def _replaying(*connections: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers the calls of each connection with these bytes, then closes it."""
    seen: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for answers in connections:
            connection, _ = listener.accept()
            with connection:
                for answer in answers:
                    seen.append(connection.recv(65536))
                    connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/base/", seen
    finally:
        thread.join()
        listener.close()


def _get(http: BlockingHttp, path: str = "v1/x", **rest: object) -> BlockingResponse:
    answer = finish(http.request("GET", path, **rest))  # type: ignore[arg-type]
    assert isinstance(answer, BlockingResponse)
    return answer


def test_a_request_goes_below_the_base_url_with_its_parameters() -> None:
    """Path prefix, parameters, headers and JSON body arrive; status, headers and body come back."""
    with _replaying([YES]) as (url, seen):
        http = BlockingHttp(check_target(url), 2)
        answer = _get(http, "/v1/x", params={"after": 3}, headers={"X-A": "b"}, json={"größe": [1]})
        http.close()

    assert (answer.status_code, answer.headers["x-mark"], answer.json()) == (200, "here", {"yes": 1})
    assert "X-MARK" in answer.headers
    assert seen[0].startswith(b"GET /base/v1/x?after=3 HTTP/1.1\r\n")
    assert b"X-A: b\r\n" in seen[0]
    assert seen[0].endswith('{"größe":[1]}'.encode())


def test_one_connection_carries_many_requests() -> None:
    """Keep-alive is kept."""
    with _replaying([YES, YES, YES]) as (url, seen):
        http = BlockingHttp(check_target(url), 2)
        assert [_get(http).status_code for _ in range(3)] == [200, 200, 200]
        http.close()

    assert len(seen) == 3


def test_a_connection_closed_while_idle_is_no_lost_answer() -> None:
    """The target may close an idle connection; the next request opens another and is sent once."""
    with _replaying([YES], [YES]) as (url, seen):
        http = BlockingHttp(check_target(url), 2)
        _get(http)
        threading.Event().wait(0.05)
        assert _get(http).status_code == 200
        http.close()

    assert len(seen) == 2


def test_a_request_without_an_answer_is_not_sent_again() -> None:
    """It may have taken effect: the error comes out, and the server saw it once."""
    with _replaying([b""]) as (url, seen):
        http = BlockingHttp(check_target(url), 2)
        with pytest.raises(ConnectionError):
            _get(http)
        http.close()

    assert len(seen) == 1


def test_a_silent_target_is_given_up() -> None:
    """No answer within the timeout is a TimeoutError."""
    listener = socket.create_server(("127.0.0.1", 0))
    http = BlockingHttp(check_target(f"http://127.0.0.1:{listener.getsockname()[1]}"), 0.05)
    with pytest.raises(TimeoutError):
        _get(http)
    http.close()
    listener.close()


def test_a_plain_verb_answers_at_once() -> None:
    """``def`` verbs need nothing."""
    assert finish(Allowed()) == Allowed()


def test_a_verb_that_waits_for_something_else_is_an_error() -> None:
    """Under load there is no event loop that it could wait for."""

    async def validate() -> Allowed:
        await asyncio.sleep(0)
        return Allowed()

    with pytest.raises(UsageError, match=r"something other than target\.http"):
        finish(validate())
