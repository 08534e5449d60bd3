"""What a load run is asked to do. Imports nothing that Locust would have to patch, so mistakes are said at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from licensing_harness.errors import UsageError
from licensing_harness.load.measures import Threshold
from licensing_harness.target.adapter import Adapter

PROFILES: Final = ("checkin",)
PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadPlan:
    """What to run. Times are seconds; ``spawn_rate`` is users a second."""

    profile: str
    url: str
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


def address(url: str) -> tuple[str, str, int, str]:
    """Scheme, host, port and path prefix of a base URL.

    Raises UsageError for anything but http and https.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or PORTS[parts.scheme]
    except (KeyError, ValueError):
        parts = parts._replace(netloc="")
        port = 0
    if not parts.hostname:
        message = f"{url!r} is no http:// or https:// URL"
        raise UsageError(message)
    return parts.scheme, parts.hostname, port, parts.path.rstrip("/")
