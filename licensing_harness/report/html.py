"""The run as one HTML file: readable from a disk, without a network and without a script."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from licensing_harness.history import StoryHistory
from licensing_harness.report.drillchart import drill_chart
from licensing_harness.report.matrix import matrix_table
from licensing_harness.report.text import (
    SHOWN,
    about,
    clarity,
    clean,
    grouped,
    many,
    meaning,
    promise_reasons,
    ranges,
    replay_command,
    scenario_reasons,
)
from licensing_harness.report.timeline import Timeline, timeline
from licensing_harness.verdict import Exit, Finding, RunResult, ScenarioResult, Verdict

if TYPE_CHECKING:
    from jinja2 import Environment

LIMIT: Final = 2 << 20
"""Bytes of UTF-8 that are never exceeded."""

_TEMPLATES: Final = Path(__file__).parent
_LONGEST: Final = 600
"""Characters of one text of others."""
_NAMES: Final = 40
"""Names of one reason."""
_STAMP: Final = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)T(\d\d):?(\d\d):?(\d\d)(?:\.\d+)?Z")
_SYMBOLS: Final = {Verdict.HELD: "✓", Verdict.BROKEN: "✗", Verdict.UNDECIDED: "?", Verdict.NOT_RUN: "\N{EN DASH}"}


@dataclass(frozen=True, slots=True)
class _Caps:
    """How much of a run is shown: the rest is in result.json."""

    findings: int
    rows: int


_CAPS: Final = (_Caps(20, 500), _Caps(8, 100), _Caps(1, 10))


@dataclass(frozen=True, slots=True)
class _Shown:
    """A finding as the page shows it."""

    found: Finding
    evidence: list[dict[str, str]]
    control: list[dict[str, str]]
    replay: str
    timeline: Timeline | None


@dataclass(frozen=True, slots=True)
class _Broken:
    """A broken promise with those of its findings that are shown, the clearest first."""

    promise: str
    sentence: str
    shown: list[_Shown]
    left: int


@dataclass(frozen=True, slots=True)
class _Reason:
    """What was not tested, or not decided, for one reason."""

    reason: str
    head: str
    kind: str
    names: list[tuple[str, str]]
    more: int


@dataclass(frozen=True, slots=True)
class _Family:
    """The scenarios of one folder."""

    name: str
    counts: str
    scenarios: list[ScenarioResult]
    left: int


def report_html(result: RunResult, cases: Mapping[str, StoryHistory], drill: StoryHistory | None = None) -> str:
    """The run as one HTML page.

    ``result``, ``cases``, the stories of its findings, and ``drill``, the story of a drill, must be masked already.
    """
    environment = _environment()
    page = environment.get_template("page.html.jinja")
    script = environment.get_template("page.js").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = ""
    for caps in _CAPS:
        chart = None if drill is None else drill_chart(drill, result.drill.get("recovered", {}))
        text = page.render(**_told(result, cases, caps), chart=chart, script=script, digest=digest)
        if len(text.encode()) <= LIMIT:
            break
    return text


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        """Every text that is put into the page: cut, and without control characters; Jinja2 escapes it."""
        if isinstance(value, str) and not isinstance(value, Markup):
            text = clean(value.encode(errors="replace").decode())
            return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… (cut; all of it is in result.json)"
        return value

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"many": many, "style": lambda verdict: verdict.replace(" ", "-")}
    environment.globals |= {"symbols": {each.value: symbol for each, symbol in _SYMBOLS.items()}}
    environment.filters["script"] = Markup
    return environment


def _told(result: RunResult, cases: Mapping[str, StoryHistory], caps: _Caps) -> dict[str, Any]:
    counts = Counter(each.verdict for each in result.promises)
    broken = _broken(result.findings, cases, caps)
    shown = sum(len(each.shown) for each in broken)
    promises = {each.id: each.sentence for each in result.promises}
    return {
        "result": result,
        "tone": _tone(result),
        "sentence": _sentence(result),
        "counts": [(each.value, counts[each]) for each in Verdict],
        "broken": broken,
        "left": len(result.findings) - shown,
        **{
            name: [
                *_reasons(promise_reasons(result, verdict), promises, caps),
                *_reasons(scenario_reasons(result, verdict), {}, caps),
            ]
            for name, verdict in (("not_run", Verdict.NOT_RUN), ("undecided", Verdict.UNDECIDED))
        },
        "own": [each for each in result.scenarios if each.verdict is Verdict.BROKEN and each.reason][: caps.rows],
        "promises": result.promises[: caps.rows],
        "families": _families(result.scenarios, caps),
        "thresholds": [_threshold(each) for each in result.thresholds[: caps.rows]],
        "matrix": matrix_table(result.matrix, result.promises),
        "drill": result.drill,
        "expected": [_threshold(each) for each in result.thresholds[: caps.rows]] if result.drill else [],
        "worlds": list(result.worlds.items())[: caps.rows],
        "errors": result.errors[: caps.rows],
        "notes": result.notes[: caps.rows],
        "started": _started(result.started),
        "contract": list(result.contract.items()),
    }


def _tone(result: RunResult) -> Verdict:
    """What the page looks like at first sight: green is for exit 0 alone."""
    if result.verdict is Verdict.HELD and result.exit_code != Exit.HELD:
        return Verdict.UNDECIDED
    return result.verdict


def _sentence(result: RunResult) -> str:
    """What was judged, what held, what broke, and how the run ended."""
    ids: dict[Verdict, list[str]] = {}
    for each in result.promises:
        ids.setdefault(each.verdict, []).append(each.id)
    held, broken, undecided = (ids.get(each, []) for each in (Verdict.HELD, Verdict.BROKEN, Verdict.UNDECIDED))
    tried = len(held) + len(broken) + len(undecided)
    target = result.target or "The target"
    end = f"exit code {result.exit_code} says that {meaning(result)}."
    if not tried:
        return f"{_capital(target)} was judged by no promise; {end}"
    parts = [f"{len(held)} held"]
    parts += [f"{len(broken) or 'none'} {'were' if len(broken) > 1 else 'was'} broken{_named(broken)}"]
    parts += [f"{len(undecided)} could not be decided{_named(undecided)}"] if undecided else []
    told = f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"{_capital(target)} was judged by {many(tried, 'promise')}: {told}; {end}"


def _capital(text: str) -> str:
    """A sentence's first letter; an address keeps its own."""
    return text if "://" in text else text[:1].upper() + text[1:]


def _named(ids: Sequence[str]) -> str:
    return f" ({ranges(ids)})" if ids else ""


def _broken(findings: Iterable[Finding], cases: Mapping[str, StoryHistory], caps: _Caps) -> list[_Broken]:
    """Findings by promise; when there are too many, every promise gets its clearest ones."""
    promises: dict[str, list[Finding]] = {}
    for each in findings:
        promises.setdefault(each.promise, []).append(each)
    ranked = [sorted(each, key=clarity) for each in promises.values()]
    turns = [(turn, at) for at, found in enumerate(ranked) for turn in range(len(found))]
    chosen = Counter(at for _, at in sorted(turns)[: caps.findings])
    return [
        _Broken(
            promise=found[0].promise,
            sentence=found[0].sentence,
            shown=[_shown(each, cases) for each in found[: chosen[at]]],
            left=len(found) - chosen[at],
        )
        for at, found in enumerate(ranked[: caps.rows])
    ]


def _shown(found: Finding, cases: Mapping[str, StoryHistory]) -> _Shown:
    story = cases.get(found.case)
    evidence = {int(row["n"]) for row in found.evidence}
    return _Shown(
        found=found,
        evidence=[_record(row) for row in found.evidence[:SHOWN]],
        control=[_record(row) for row in found.control[:SHOWN]],
        replay=replay_command(found.case),
        timeline=timeline(story, evidence) if story is not None else None,
    )


def _record(row: Mapping[str, Any]) -> dict[str, str]:
    """A record of the evidence, as the cells of a table."""
    cells = {"n": f"#{row['n']}", "begin": f"{row['at']:.3f}", "end": f"{row['until']:.3f}" if "until" in row else ""}
    if "fault" in row:
        cells |= {"end": cells["end"] or "not removed", "who": row["where"], "what": f"fault {row['fault']}"}
        return cells | {"about": "", "outcome": "", "reason": f"met {row['met']}"}
    cells |= {"end": cells["end"] or "not seen", "who": row["client"], "what": row["verb"], "about": about(row)}
    return cells | {"outcome": row["outcome"], "reason": row.get("reason") or ""}


def _reasons(reasons: Mapping[str, str], sentences: Mapping[str, str], caps: _Caps) -> list[_Reason]:
    told = []
    for reason, names in list(grouped(reasons).items())[: caps.rows]:
        listed = [(each, sentences.get(each, "")) for each in names[:_NAMES]]
        kind = "promise" if sentences else "scenario"
        head = ranges(names) if sentences else names[0] if len(names) == 1 else many(len(names), kind)
        told.append(_Reason(reason or "no reason was recorded", head, kind, listed, len(names) - len(listed)))
    return told


def _families(scenarios: Iterable[ScenarioResult], caps: _Caps) -> list[_Family]:
    found: dict[str, list[ScenarioResult]] = {}
    for each in scenarios:
        path, _, _ = each.id.partition("::")
        found.setdefault(path.rpartition("/")[0] or path, []).append(each)
    left = caps.rows
    families = []
    for name, own in list(found.items())[: caps.rows]:
        counts = Counter(each.verdict for each in own)
        told = ", ".join(f"{counts[each]} {each.value}" for each in Verdict if counts[each])
        families.append(_Family(name, told, own[:left], max(0, len(own) - left)))
        left -= min(left, len(own))
    return families


def _threshold(each: Mapping[str, Any]) -> dict[str, Any]:
    """One threshold; what was not measured is a dash."""
    known = {"name": "", "limit": None, "unit": "", "value": None, "samples": None, "verdict": "", "reason": ""}
    return {
        name: "\N{EN DASH}" if (value := each.get(name, default)) is None else value for name, default in known.items()
    }


def _started(text: str) -> str:
    found = _STAMP.fullmatch(text)
    return "{}-{}-{} {}:{}:{} UTC".format(*found.groups()) if found else text
