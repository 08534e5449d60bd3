"""A story as a drawing: who asked what, when, and what came of it. Geometry only; the template paints it.

One lane a client, one bar an operation from its begin to its end. A bar without
an end runs on to its client's next operation, with an open end. A long story is
cut to a window around its evidence, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from licensing_harness.history import Fault, Operation, StoryHistory, summary
from licensing_harness.report.drawing import fault_tip, free_line, round_step
from licensing_harness.report.text import many

WIDTH: Final = 920.0
LEFT: Final = 112.0
"""Where the lanes begin, right of the clients' names."""
RIGHT: Final = 904.0
MOST: Final = 60
"""Operations that one drawing shows at most."""
LANES: Final = 12
BANDS: Final = 12
NARROWEST: Final = 18.0
"""A bar has room for the mark of its outcome, however short its call was."""

_CHARACTER: Final = 7.2
"""The width of a character of the labels, generously."""
_WHOLE: Final = 8
"""A story up to so many times as long as its evidence is drawn whole."""
_AROUND: Final = 2
"""Otherwise so many times the evidence's length is drawn before and after it."""
_BAR: Final = 18.0
_NUMBER: Final = 15.0
_GAP: Final = 5.0
_NAME: Final = 13


@dataclass(frozen=True, slots=True)
class Bar:
    """One operation. ``label`` stands in it or beside it, and is empty where neither fits; ``tip`` says everything."""

    n: int
    x: float
    y: float
    width: float
    height: float
    outcome: str
    open: bool
    evidence: bool
    label: str
    label_x: float
    tip: str


@dataclass(frozen=True, slots=True)
class Band:
    """One fault, behind all lanes. ``label_x`` and ``label_y`` keep names from covering each other."""

    x: float
    width: float
    label: str
    label_x: float
    label_y: float
    evidence: bool
    tip: str


@dataclass(frozen=True, slots=True)
class Lane:
    """One client."""

    name: str
    client: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Tick:
    """One time on the axis, in seconds from the start of the story."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything to paint, and ``note``: what is not painted."""

    width: float
    height: float
    top: float
    bottom: float
    left: float
    right: float
    lanes: tuple[Lane, ...]
    bars: tuple[Bar, ...]
    bands: tuple[Band, ...]
    ticks: tuple[Tick, ...]
    summary: str
    note: str


@dataclass(frozen=True, slots=True)
class _Scale:
    begin: float
    end: float

    def x(self, time: float) -> float:
        share = (min(max(time, self.begin), self.end) - self.begin) / (self.end - self.begin)
        return round(LEFT + share * (RIGHT - LEFT), 1)


def timeline(story: StoryHistory, evidence: Collection[int]) -> Timeline | None:
    """The story drawn around the records numbered in ``evidence``; None when it has no operation."""
    operations = sorted(story.operations, key=lambda each: (each.begin, each.n))
    if not operations:
        return None
    ends = _drawn_ends(operations)
    begin, end = _window(operations, story.faults, evidence)
    inside = [each for each in operations if each.begin <= end and ends[each.n] >= begin]
    drawn = _nearest(_in_lanes(inside, evidence), evidence)
    if len(drawn) < len(inside):
        begin = max(begin, min(each.begin for each in drawn))
        end = min(end, max(min(ends[each.n], end) for each in drawn))
    margin = max(end - begin, 1e-6) * 0.02
    scale = _Scale(begin - margin, end + margin)
    met = [each for each in story.faults if each.begin <= end and (each.end is None or each.end >= begin)]
    faults = sorted(met, key=lambda each: (each.n not in evidence, each.begin))[:BANDS]
    bands, top = _bands(sorted(faults, key=lambda each: (each.begin, each.n)), scale, evidence)
    clients = [
        each for each in dict.fromkeys(each.client for each in operations) if each in {one.client for one in drawn}
    ]
    lanes, bars, bottom = _lanes(
        [(each, [one for one in drawn if one.client == each]) for each in clients], ends, scale, evidence, top
    )
    return Timeline(
        width=WIDTH,
        height=bottom + 40,
        top=top,
        bottom=bottom,
        left=LEFT,
        right=RIGHT,
        lanes=lanes,
        bars=bars,
        bands=bands,
        ticks=_ticks(scale),
        summary=_summary(drawn, faults, evidence, begin, end),
        note=_note((len(drawn), len(operations)), (len(faults), len(story.faults)), begin, end),
    )


def _drawn_ends(operations: list[Operation]) -> dict[int, float]:
    """Where each bar ends: an open one where its client's next begins, or never."""
    ends: dict[int, float] = {}
    following: dict[str, float] = {}
    for each in reversed(operations):
        ends[each.n] = following.get(each.client, math.inf) if each.end is None else each.end
        following[each.client] = each.begin
    return ends


def _window(operations: list[Operation], faults: list[Fault], evidence: Collection[int]) -> tuple[float, float]:
    """The time to draw: the whole story, or some of it around the evidence."""
    records: list[Operation | Fault] = [*operations, *faults]
    start = min(each.begin for each in records)
    stop = max(_until(each) for each in records)
    marked = [each for each in records if each.n in evidence] or records
    first = min(each.begin for each in marked)
    last = max(_until(each) for each in marked)
    extent = last - first
    if extent <= 0:
        extent = max(*(_until(each) - each.begin for each in records), (stop - start) / (10 * _WHOLE), 1e-6)
    if stop - start <= _WHOLE * extent:
        return start, stop
    return max(start, first - _AROUND * extent), min(stop, last + _AROUND * extent)


def _until(record: Operation | Fault) -> float:
    return record.begin if record.end is None else record.end


def _in_lanes(inside: list[Operation], evidence: Collection[int]) -> list[Operation]:
    """Without the operations of clients for whom there is no lane; those of the evidence come first."""
    accused = dict.fromkeys(each.client for each in inside if each.n in evidence)
    chosen = list(accused | dict.fromkeys(each.client for each in inside))[:LANES]
    return [each for each in inside if each.client in chosen]


def _nearest(inside: list[Operation], evidence: Collection[int]) -> list[Operation]:
    """At most MOST operations: those of the evidence, and those next to them."""
    if len(inside) <= MOST:
        return inside
    marked = [at for at, each in enumerate(inside) if each.n in evidence] or [0]
    order = sorted(range(len(inside)), key=lambda at: min(abs(at - each) for each in marked))
    return [inside[at] for at in sorted(order[:MOST])]


def _bands(faults: list[Fault], scale: _Scale, evidence: Collection[int]) -> tuple[tuple[Band, ...], float]:
    """The bands, with their names in as many lines as they need above the lanes; and where the lanes begin."""
    filled: list[float] = []
    bands = []
    for each in faults:
        left = scale.x(each.begin)
        right = RIGHT if each.end is None else scale.x(each.end)
        label = _cut(f"#{each.n} {each.fault.value}{f' {each.where}' if each.where else ''}", 40)
        length = len(label) * _CHARACTER
        at = max(LEFT, min(left, RIGHT - length))
        line = free_line(filled, at, at + length + 8)
        tip = fault_tip(label, each)
        bands.append(Band(left, round(max(right - left, 3.0), 1), label, at, 14 + line * 17, each.n in evidence, tip))
    return tuple(bands), 6 + 17.0 * len(filled)


def _lanes(
    clients: list[tuple[str, list[Operation]]],
    ends: Mapping[int, float],
    scale: _Scale,
    evidence: Collection[int],
    top: float,
) -> tuple[tuple[Lane, ...], tuple[Bar, ...], float]:
    lanes, bars = [], []
    y = top
    for client, own in clients:
        numbers = _NUMBER if any(each.n in evidence for each in own) else 0.0
        filled: list[float] = []
        placed = []
        for each in own:
            left = min(scale.x(each.begin), RIGHT - NARROWEST)
            right = RIGHT if each.end is None and math.isinf(ends[each.n]) else scale.x(ends[each.n])
            width = round(max(right - left - 1, NARROWEST), 1)
            number = len(f"#{each.n}") * 8 if each.n in evidence else 0
            placed.append((each, left, width, free_line(filled, left, left + max(width, number))))
        following = [RIGHT] * len(filled)
        for each, left, width, line in reversed(placed):
            label, label_x = _label(each, left, width, following[line], numbered=each.n in evidence)
            following[line] = left
            bars.append(
                Bar(
                    n=each.n,
                    x=left,
                    y=y + _GAP + line * (_BAR + numbers + _GAP) + numbers,
                    width=width,
                    height=_BAR,
                    outcome=each.outcome.value,
                    open=each.end is None,
                    evidence=each.n in evidence,
                    label=label,
                    label_x=label_x,
                    tip=_tip(each),
                )
            )
        height = len(filled) * (_BAR + numbers + _GAP) + _GAP
        lanes.append(Lane(_cut(client, _NAME), client, y, height))
        y += height
    return tuple(lanes), tuple(sorted(bars, key=lambda each: (each.y, each.x))), y


def _label(operation: Operation, left: float, width: float, following: float, *, numbered: bool) -> tuple[str, float]:
    """The longest of some labels that fits into the bar, or up to the ``following`` one; and where it begins.

    The number is left out where it stands above the bar.
    """
    number = [] if numbered else [f"#{operation.n}"]
    inside = left + NARROWEST + 3, width - NARROWEST - (12 if operation.end is None else 4)
    beside = left + width + 5, following - left - width - 9
    for words in ([*number, operation.verb, operation.licence], [*number, operation.verb], number):
        label = " ".join(filter(None, words))
        for x, room in (inside, beside):
            if label and len(label) * _CHARACTER <= room:
                return label, round(x, 1)
    return "", left


def _tip(operation: Operation) -> str:
    about = _cut(" ".join(filter(None, [operation.licence, summary(operation.asked)])), 160)
    reason = f" ({_cut(operation.reason, 100)})" if operation.reason else ""
    until = f"to {operation.end:.3f} s" if operation.end is not None else "and no end seen"
    head = f"#{operation.n} {_cut(operation.client, 40)} {_cut(operation.verb, 40)}"
    return f"{head} {about}: {operation.outcome.value}{reason}, from {operation.begin:.3f} s {until}"


def _ticks(scale: _Scale) -> tuple[Tick, ...]:
    """About eight round times."""
    step, digits = round_step(scale.end - scale.begin)
    first, last = math.ceil(scale.begin / step), math.floor(scale.end / step)
    return tuple(Tick(scale.x(each * step), f"{each * step + 0.0:.{digits}f}") for each in range(first, last + 1))


def _summary(drawn: list[Operation], faults: list[Fault], evidence: Collection[int], begin: float, end: float) -> str:
    """The drawing in words."""
    clients = len({each.client for each in drawn})
    told = [
        f"#{each.n} {_cut(each.client, 40)} {_cut(each.verb, 40)} {each.outcome.value}"
        for each in drawn
        if each.n in evidence
    ]
    lost = [f"{each.fault.value} {_cut(each.where, 40)}".strip() for each in faults]
    where = f"{many(len(drawn), 'operation')} in {many(clients, 'lane')}, one for each client"
    parts = [f"{where}, from {begin:.3f} s to {end:.3f} s."]
    parts += [f"Evidence: {'; '.join(told)}."] if told else []
    parts += [f"Faults: {'; '.join(lost)}."] if lost else []
    return " ".join(parts)


def _note(operations: tuple[int, int], faults: tuple[int, int], begin: float, end: float) -> str:
    """What is left out, if anything; each pair is how many are drawn, and how many there are."""
    if operations[0] == operations[1] and faults[0] == faults[1]:
        return ""
    some = "{} of {} operations".format(*operations)
    some += " and {} of {} faults".format(*faults) if faults[1] else ""
    return f"{some} of the story are drawn, those around the evidence, from {begin:.3f} s to {end:.3f} s."


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
