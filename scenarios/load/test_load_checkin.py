"""Customers' devices check in all at once, and the history of that is judged like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from licensing_harness.errors import CleanUpIncomplete
from licensing_harness.generate.loadrun import run_profile
from licensing_harness.suite import Campaign, Cap, NotRun

EFFORT: Final = {"smoke": (16, 3.0), "ci": (24, 8.0), "nightly": (60, 60.0)}
"""Devices, and seconds, by depth."""

TRIES: Final = ("SEA-001", "REV-001", "VAL-005")
MOST_REQUESTS: Final = 200_000


@pytest.mark.licensing(tries=TRIES, needs=(Cap.ISSUE, Cap.VALIDATE))
def test_load_checkin(licensing_world: Campaign, licensing_world_name: str) -> None:
    """Under load no seat is sold twice, no revoked licence is good, and no good one is refused; errors stay few."""
    if not licensing_world_name.startswith("live"):
        raise NotRun("load is put on a live target only: virtual time has no load")
    run = licensing_world.run
    target = run.live_target()
    users, seconds = EFFORT[run.config.depth]
    outcome = run_profile(
        "checkin",
        target.url,
        f"{run.adapter.__module__}:{run.adapter.__qualname__}",
        Path(run.place.directory),
        users=users,
        seconds=seconds,
        env=target.secrets,
        seed=run.place.seed,
        tag=run.place.tag,
        prefix=f"{run.place.worker}-load-" if run.place.worker else "load-",
        scenario=licensing_world.scenario,
        tries=TRIES,
        max_requests=min(run.config.max_requests, MOST_REQUESTS),
        allow_hosts=run.config.allow_host,
    )
    licensing_world.adopt(outcome.stories, thresholds=outcome.thresholds)
    if outcome.result.left:
        raise CleanUpIncomplete(outcome.result.notes[-1])
