"""What a load run is asked to do. Imports nothing that Locust would have to patch, so mistakes are said at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from licensing_harness.load.measures import Threshold
from licensing_harness.target.adapter import Adapter
from licensing_harness.target.guard import Endpoint

PROFILES: Final = ("checkin",)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadPlan:
    """What to run. Times are seconds; ``spawn_rate`` is users a second."""

    profile: str
    endpoint: Endpoint
    adapter: type[Adapter]
    report: Path
    users: int
    spawn_rate: float
    seconds: float
    pause: float
    timeout: float
    seed: int
    tag: str
    prefix: str
    scenario: str
    tries: tuple[str, ...]
    thresholds: tuple[Threshold, ...]
    most_requests: int
    secrets: dict[str, str]
