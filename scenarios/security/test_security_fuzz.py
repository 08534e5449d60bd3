"""Requests made up from the target's own OpenAPI: no 5xx, and every answer as the document says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from licensing_harness.clock import Clock
from licensing_harness.errors import UsageError
from licensing_harness.generate.openapi_fuzz import fuzz
from licensing_harness.masking import Masker
from licensing_harness.suite import NotRun, PromiseBroken, Undecided

if TYPE_CHECKING:
    from licensing_harness.config import Config

SECONDS: Final = {"smoke": 5.0, "ci": 15.0, "nightly": 120.0}
MOST_REQUESTS: Final = 50_000


@pytest.mark.licensing
def test_security_fuzz(request: pytest.FixtureRequest, licensing_config: Config, licensing_clock: Clock) -> None:
    """The target survives what its document allows and forbids, for as long as the depth says."""
    if "live" not in licensing_config.worlds():
        raise NotRun("speaks HTTP to the target's own address: live only")
    target = request.getfixturevalue("licensing_target")
    try:
        api_token = target.secret("api_token")
    except UsageError as error:
        raise NotRun(str(error)) from error
    masker = Masker()
    masker.register(api_token)
    report = fuzz(
        target.url,
        openapi_url=target.openapi_url,
        headers={"Authorization": f"Bearer {api_token}"},
        seconds=SECONDS[licensing_config.depth],
        max_requests=min(licensing_config.max_requests, MOST_REQUESTS),
        seed=licensing_config.seed or 0,
        clock=licensing_clock,
        masker=masker,
    )
    if report.findings:
        raise PromiseBroken(
            f"{len(report.findings)} ways in which the target does not keep to its own OpenAPI document "
            f"({report.requests} requests in {report.seconds:.0f} s)\n\n" + "\n\n".join(map(str, report.findings))
        )
    if not report.reached:
        raise Undecided(f"none of {report.requests} requests was answered with a 2xx: nothing was reached")
