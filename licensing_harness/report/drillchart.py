"""A drill as a drawing: calls over time, a lane for each client, faults as bands. Geometry only.

However many calls there were, a lane has one path for each outcome. Of many
clients some have a lane, those that were served again last; the columns on top
count the calls of all of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from licensing_harness.generate.drill_measures import phases
from licensing_harness.history import Fault, Operation, StoryHistory
from licensing_harness.report.drawing import fault_tip, free_line, round_step
from licensing_harness.report.text import many

WIDTH: Final = 920.0
LEFT: Final = 100.0
RIGHT: Final = 812.0
"""Where the lanes end; right of them stands when the client was served again."""
LANES: Final = 12
OUTCOMES: Final = ("accepted", "refused", "unknown")
BANDS: Final = 24

_CHARACTER: Final = 6.9
_LINE: Final = 17.0
_COLUMNS: Final = 90
_COLUMNS_HEIGHT: Final = 64.0
_LANE: Final = 24.0
_NAME: Final = 13
_LONG: Final = 6.0
"""A shorter wait has no line beside its box."""


@dataclass(frozen=True, slots=True)
class Path:
    """All marks of one outcome, as the ``d`` of a path."""

    outcome: str
    d: str


@dataclass(frozen=True, slots=True)
class Column:
    """Calls that began in one slice of time, those of one outcome."""

    outcome: str
    x: float
    y: float
    width: float
    height: float
    tip: str


@dataclass(frozen=True, slots=True)
class ClientLane:
    """One client. ``back`` says when it was served again, and ``back_x`` where that is marked, if it was."""

    name: str
    client: str
    y: float
    paths: tuple[Path, ...]
    back: str
    back_x: float | None


@dataclass(frozen=True, slots=True)
class FaultBand:
    """One fault. ``label`` is empty where the one before says it already."""

    x: float
    width: float
    label: str
    label_x: float
    label_y: float
    tip: str


@dataclass(frozen=True, slots=True)
class PhaseMark:
    """Where a phase begins, and its name in the middle of it."""

    x: float
    name: str
    middle: float


@dataclass(frozen=True, slots=True)
class DrillChart:
    """Everything to paint, from the top: phases, names of faults, columns, lanes, axis."""

    width: float
    height: float
    left: float
    right: float
    top: float
    base: float
    """Where the columns stand."""
    bottom: float
    most: str
    phases: tuple[PhaseMark, ...]
    bands: tuple[FaultBand, ...]
    columns: tuple[Column, ...]
    lanes: tuple[ClientLane, ...]
    lane_height: float
    ticks: tuple[tuple[float, str], ...]
    summary: str
    note: str


def drill_chart(story: StoryHistory, recovered: Mapping[str, float | None]) -> DrillChart | None:
    """The drill's story drawn whole; ``recovered`` as in ``result.json``. None when nothing was called."""
    calls = sorted(story.operations, key=lambda each: each.begin)
    if not calls:
        return None
    begin = calls[0].begin
    records: list[Operation | Fault] = [*calls, *story.faults]
    end = max(*(each.begin if each.end is None else each.end for each in records), begin + 1e-3)

    def x(time: float) -> float:
        return round(LEFT + (min(max(time, begin), end) - begin) / (end - begin) * (RIGHT - LEFT), 1)

    bands, top = _bands(story.faults, x)
    base = top + _COLUMNS_HEIGHT
    columns, most = _columns(calls, begin, end, base)
    chosen, note = _chosen(calls, recovered)
    gone = max((each.end for each in story.faults if each.end is not None), default=None)
    lanes = tuple(
        _lane(client, [each for each in calls if each.client == client], base + 8 + _LANE * number, x, recovered, gone)
        for number, client in enumerate(chosen)
    )
    bottom = base + 8 + _LANE * len(lanes)
    return DrillChart(
        width=WIDTH,
        height=bottom + 40,
        left=LEFT,
        right=RIGHT,
        top=top,
        base=base,
        bottom=bottom,
        most=most,
        phases=_phases(story, x, begin, end),
        bands=bands,
        columns=columns,
        lanes=lanes,
        lane_height=_LANE,
        ticks=_ticks(begin, end, x),
        summary=_summary(calls, story.faults, recovered, end - begin),
        note=note,
    )


def _bands(faults: Sequence[Fault], x: Any) -> tuple[tuple[FaultBand, ...], float]:
    """The bands, and where the columns may begin below their names."""
    filled: list[float] = []
    bands: list[FaultBand] = []
    kinds = Counter((each.fault, each.where) for each in faults)
    said: set[Any] = set()
    for each in sorted(faults, key=lambda fault: fault.begin)[:BANDS]:
        left, right = x(each.begin), RIGHT if each.end is None else x(each.end)
        what = f"{each.fault.value} {each.where}".strip()
        times = kinds[each.fault, each.where]
        label = (
            "" if (each.fault, each.where) in said else what + (f" \N{MULTIPLICATION SIGN}{times}" if times > 1 else "")
        )
        said.add((each.fault, each.where))
        at, line = left + 4, 0
        if label:
            length = len(label) * _CHARACTER
            at = max(LEFT, min(left + 4, WIDTH - 8 - length))
            line = free_line(filled, at, at + length + 8)
        tip = fault_tip(f"#{each.n} {what}", each)
        bands.append(FaultBand(left, round(max(right - left, 3.0), 1), label, at, 34 + line * _LINE, tip))
    return tuple(bands), 30 + _LINE * max(1, len(filled))


def _columns(calls: Sequence[Operation], begin: float, end: float, base: float) -> tuple[tuple[Column, ...], str]:
    slices: dict[int, Counter[str]] = {}
    width = (end - begin) / _COLUMNS
    for each in calls:
        at = min(int((each.begin - begin) / width), _COLUMNS - 1)
        slices.setdefault(at, Counter())[each.outcome.value] += 1
    most = max(sum(each.values()) for each in slices.values())
    step = (RIGHT - LEFT) / _COLUMNS
    columns = []
    for at, counts in sorted(slices.items()):
        y = base
        for outcome in OUTCOMES:
            if not counts[outcome]:
                continue
            height = round(counts[outcome] / most * (_COLUMNS_HEIGHT - 6), 1)
            y = round(y - height, 1)
            tip = f"{many(counts[outcome], 'call')} {outcome}, begun from {at * width:.2f} s on"
            columns.append(Column(outcome, round(LEFT + at * step, 1), y, round(step - 0.8, 1), height, tip))
    return tuple(columns), f"{most / width:,.0f}"


def _chosen(calls: Sequence[Operation], recovered: Mapping[str, float | None]) -> tuple[list[str], str]:
    """Clients with a lane, and what to say of the others."""
    clients = list(dict.fromkeys(each.client for each in calls))
    if len(clients) <= LANES:
        return clients, ""

    def slowness(client: str) -> float:
        back = recovered.get(client, -1.0)
        return math.inf if back is None else back

    slowest = sorted(clients, key=slowness, reverse=True)[:LANES]
    kept = [each for each in clients if each in slowest]
    return kept, f"{len(kept)} of {len(clients)} clients have a lane, those that were served again last."


def _lane(  # noqa: PLR0917 - a lane is where it is
    client: str,
    calls: Sequence[Operation],
    y: float,
    x: Any,
    recovered: Mapping[str, float | None],
    gone: float | None,
) -> ClientLane:
    middle = y + _LANE / 2
    marks: dict[str, list[str]] = {}
    for each in calls:
        at = x(each.begin)
        match each.outcome.value:
            case "accepted":
                mark = f"M{at:g} {middle - 6:g}v12"
            case "refused":
                mark = f"M{at - 3:g} {middle - 4:g}l6 8m0 -8l-6 8"
            case _:
                long = max(0.0, round((at if each.end is None else x(each.end)) - at, 1))
                mark = f"M{at - 2.5:g} {middle - 2.5:g}h5v5h-5z" + (
                    f"M{at + 2.5:g} {middle:g}h{long:g}" if long > _LONG else ""
                )
        marks.setdefault(each.outcome.value, []).append(mark)
    back, back_x = "", None
    if client in recovered:
        seconds = recovered[client]
        back = "never again" if seconds is None else f"back in {seconds:.2f} s"
        if seconds is not None and gone is not None:
            back_x = x(gone + seconds)
    shown = client if len(client) <= _NAME else f"{client[: _NAME - 1]}…"
    paths = tuple(Path(outcome, "".join(marks[outcome])) for outcome in OUTCOMES if outcome in marks)
    return ClientLane(shown, client, y, paths, back, back_x)


def _phases(story: StoryHistory, x: Any, begin: float, end: float) -> tuple[PhaseMark, ...]:
    """Phases by the faults that were seen, and by the clean-up's first call."""
    starts = [("before", begin)]
    if story.faults:
        starts.append(("during", min(each.begin for each in story.faults)))
        if all(each.end is not None for each in story.faults):
            starts.append(("after", max(each.end for each in story.faults if each.end is not None)))
    clean = phases(story)["clean-up"]
    if clean:
        starts.append(("clean-up", min(each.begin for each in clean)))
    marks = []
    for (name, at), (_, following) in zip(starts, [*starts[1:], ("", end)], strict=True):
        left, right = x(at), x(following)
        fits = right - left >= len(name) * _CHARACTER
        marks.append(PhaseMark(left, name if fits or name == "clean-up" else "", round((left + right) / 2, 1)))
    return tuple(marks)


def _ticks(begin: float, end: float, x: Any) -> tuple[tuple[float, str], ...]:
    step, digits = round_step(end - begin)
    count = math.floor((end - begin) / step)
    return tuple((x(begin + each * step), f"{each * step:.{digits}f}") for each in range(count + 1))


def _summary(
    calls: Sequence[Operation], faults: Sequence[Fault], recovered: Mapping[str, float | None], seconds: float
) -> str:
    """The drawing in words."""
    counts = Counter(each.outcome.value for each in calls)
    told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
    clients = many(len({each.client for each in calls}), "client")
    parts = [f"{many(len(calls), 'call')} of {clients} in {seconds:.1f} s: {told}."]
    kinds = Counter(each.fault.value for each in faults)
    parts += [f"Faults: {', '.join(f'{kind} {count}' for kind, count in kinds.items())}."] if kinds else []
    known = [each for each in recovered.values() if each is not None]
    if recovered:
        parts.append(
            f"{len(known)} of {len(recovered)} clients were served again"
            + (f", the last after {max(known):.2f} s." if known else ".")
        )
    return " ".join(parts)
