"""When a licence's term is certainly running, and when it is certainly over.

A term of ``d`` seconds given between ``b`` and ``e`` ends between ``b + d`` and
``e + d``, give or take the target's clock tolerance, and what faults did to its clock. A renewal gives a new term,
counted from itself, that replaces the one before. A renewal of unknown outcome
may do so at any time after it was sent, until it is settled; one that never is
can't be made impossible by anything that came later.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import Final

from licensing_harness.checkers.clocks import FOREVER, Clocks
from licensing_harness.checkers.index import Licence, Moment, began, ended
from licensing_harness.history import Operation

_NEVER: Final = (-FOREVER, 0)
"""A term that may not have been given replaces no other for certain."""


def _duration(operation: Operation) -> float:
    asked = operation.asked.get("duration")
    return float(asked) if isinstance(asked, int | float) and not isinstance(asked, bool) else FOREVER


class Terms:
    """The terms of one licence that was acknowledged, as bounds on when they end."""

    __slots__ = ("_ends", "_hi", "_last_begin", "_lo", "_unknown", "_unknown_lo", "terms")

    def __init__(self, licence: Licence, tolerance: float, clocks: Clocks) -> None:
        # Which term replaces those before it, from when on; when it was given at the latest; when it ends.
        spans: list[tuple[Moment, Moment, float, float]] = []
        first = licence.first_accepted("issue")
        self.terms = 0
        if first is not None:
            # Retries of a lost answer share a key: the licence was made by any of them, up to the first answer.
            made = min((each for each in licence.of("issue") if not each.refused), key=began)
            duration = _duration(first)
            low, high = clocks.earliest(made.begin, first.ended, duration), clocks.latest(first.ended, duration)
            spans.append((min(began(made), began(first)), ended(first), low, high))
        unknown: list[tuple[float, float]] = []
        for renewal in licence.of("renew"):
            duration = _duration(renewal)
            low = clocks.earliest(renewal.begin, renewal.ended, duration)
            if renewal.accepted:
                spans.append((began(renewal), ended(renewal), low, clocks.latest(renewal.ended, duration)))
            elif renewal.unknown and renewal.end is not None:
                spans.append((_NEVER, ended(renewal), low, clocks.latest(renewal.ended, duration)))
            elif renewal.unknown:
                unknown.append((renewal.begin, low - tolerance))
        self.terms = len(spans) + len(unknown)
        spans.sort(key=lambda each: each[1])
        self._ends = [each[1] for each in spans]
        self._last_begin = list(accumulate((each[0] for each in spans), max))
        self._lo = list(accumulate((each[2] - tolerance for each in reversed(spans)), min))[::-1]
        self._hi = list(accumulate((each[3] + tolerance for each in reversed(spans)), max))[::-1]
        unknown.sort()
        self._unknown = [begin for begin, _ in unknown]
        self._unknown_lo = list(accumulate((low for _, low in unknown), min))

    def bounds(self, since: Moment, until: float) -> tuple[float, float]:
        """The earliest and the latest end of the term that is in force between these times.

        A term is out of the question only when a renewal that was acknowledged
        before ``since`` began after the term was given.
        """
        low, high = FOREVER, FOREVER
        known = bisect_left(self._ends, since)
        start = bisect_left(self._ends, self._last_begin[known - 1]) if known else 0
        if start < len(self._ends):
            low, high = self._lo[start], self._hi[start]
        late = bisect_right(self._unknown, until)
        if late:
            low, high = min(low, self._unknown_lo[late - 1]), FOREVER
        return low, high

    def earliest_end(self, since: Moment) -> float:
        """The earliest moment after ``since`` at which the licence may be out of its term."""
        return min(self.bounds(since, FOREVER)[0], FOREVER)
