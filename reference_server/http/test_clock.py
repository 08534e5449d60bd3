"""The operation that sets the server's clock wrong, for drills: there only when the server was started for it."""

from __future__ import annotations

from typing import Annotated, Final, cast

import msgspec
from msgspec import Meta
from starlette.routing import Route

from reference_server.clock import SetClock
from reference_server.http.endpoint import Call, Endpoint, Operation
from reference_server.http.shapes import At, Request
from reference_server.service import Service

PATH: Final = "/test-clock"
_MOST: Final = 100 * 366 * 86_400


class ClockRequest(Request, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far the clock shall be off."""

    offset: Annotated[float, Meta(ge=-_MOST, le=_MOST, description="seconds; 0 sets it right")]


class ClockAnswer(msgspec.Struct, kw_only=True):
    """How far the clock is off."""

    offset: float
    server_time: At


def routes(clock: SetClock) -> list[Route]:
    """What an application needs so that ``clock`` can be set."""

    async def show(service: Service, call: Call) -> msgspec.Struct:
        """Tell how far the clock is off."""
        del call
        return ClockAnswer(offset=clock.offset, server_time=service.ticks())

    async def put(service: Service, call: Call) -> msgspec.Struct:
        """Set the clock so far off the right time."""
        clock.offset = float(cast("ClockRequest", call.request).offset)
        return ClockAnswer(offset=clock.offset, server_time=service.ticks())

    operations = (
        Operation(
            name="readTestClock",
            method="GET",
            path=PATH,
            summary="Read how far the clock is off",
            run=show,
            answer=ClockAnswer,
        ),
        Operation(
            name="setTestClock",
            method="POST",
            path=PATH,
            summary="Set the clock off the right time",
            run=put,
            request=ClockRequest,
            answer=ClockAnswer,
        ),
    )
    return [Route(each.path, Endpoint(each), methods=[each.method], name=each.name) for each in operations]
