"""Percentiles of samples, and how many samples make one."""

from __future__ import annotations

import math
from collections.abc import Sequence


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest sample that at least ``share`` of all samples don't exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def enough(share: float) -> int:
    """How many samples it takes until the quantile ``share`` is not just the longest."""
    return math.ceil(round(1 / (1 - share), 6))
