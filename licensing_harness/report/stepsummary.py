"""The run as Markdown, for the step summary of a CI system: always under 1 MiB, which GitHub drops whole above."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from licensing_harness.report.matrix import matrix_table
from licensing_harness.report.text import finding_text, grouped, meaning, promise_reasons, ranges, scenario_reasons
from licensing_harness.verdict import RunResult, Verdict

LIMIT: Final = 1_000_000
"""Bytes of UTF-8 that are never exceeded."""

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|~!&])")
_LEADS: Final = {
    Verdict.HELD: "Held",
    Verdict.BROKEN: "Broken",
    Verdict.UNDECIDED: "Undecided",
    Verdict.NOT_RUN: "Not run",
}


def step_summary(result: RunResult) -> str:
    """The run as Markdown. ``result`` must be masked already."""
    counts = Counter(each.verdict for each in result.promises)
    lines = [
        f"## licensing-harness: {_LEADS[result.verdict].lower()} (exit {result.exit_code})",
        "",
        f"{_plain(meaning(result)).capitalize()}. Target {_code(result.target)}, seed {result.seed}.",
        "",
        "| " + " | ".join(f"{verdict.value}" for verdict in Verdict) + " |",
        "| " + " | ".join("---:" for _ in Verdict) + " |",
        "| " + " | ".join(str(counts[verdict]) for verdict in Verdict) + " |",
        "",
    ]
    for each in result.errors:
        lines += [f"**Error:** {_plain(each)}", ""]
    if result.findings:
        lines += ["### Broken", ""]
        for found in result.findings:
            times = f", {found.times} times" if found.times > 1 else ""
            lines += [f"**{_plain(found.scenario)}** [{found.world}]{times}", "", *_block(finding_text(found)), ""]
    undecided = promise_reasons(result, Verdict.UNDECIDED)
    if undecided:
        lines += ["### Undecided", ""]
        lines += [f"- {ranges(ids)}: {_plain(reason)}" for reason, ids in grouped(undecided).items()]
        lines.append("")
    not_run = promise_reasons(result, Verdict.NOT_RUN)
    stopped = scenario_reasons(result, Verdict.NOT_RUN)
    if not_run or stopped:
        lines += ["### Not run", ""]
        lines += [f"- {ranges(ids)}: {_plain(reason)}" for reason, ids in grouped(not_run).items()]
        lines += [f"- {_plain(', '.join(names))}: {_plain(reason)}" for reason, names in grouped(stopped).items()]
        lines.append("")
    lines += ["### Scenarios", "", "| scenario | world | verdict | stories | operations | overlapping pairs |"]
    lines.append("| --- | --- | --- | ---: | ---: | ---: |")
    for scenario in result.scenarios:
        numbers = f"{scenario.stories} | {scenario.operations} | {scenario.overlaps}"
        lines.append(f"| {_plain(scenario.id)} | {scenario.world} | {scenario.verdict.value} | {numbers} |")
    lines += ["", *_matrix(result)]
    for each in result.notes:
        lines += ["", f"Note: {_plain(each)}"]
    return _limited("\n".join(lines) + "\n")


def _matrix(result: RunResult) -> list[str]:
    """Which promises were tried under which fault, in short: all of it is in result.json."""
    found = matrix_table(result.matrix, result.promises)
    if not found.rows:
        return []
    lines = ["### Faults and promises", ""]
    lines += [
        "| fault | met / set | broken | tried and kept | undecided | not tried |",
        "| --- | ---: | --- | --- | --- | --- |",
    ]
    for row in found.rows:
        ids: dict[str, list[str]] = {}
        for promise, cell in zip(found.promises, row.cells, strict=True):
            ids.setdefault(cell.style, []).append(promise)
        told = [ranges(ids.get(style, [])) for style in ("broken", "held", "undecided", "not-run")]
        lines.append(f"| {row.fault} | {row.met} / {row.set} | {' | '.join(told)} |")
    return [*lines, "", *(f"- {_plain(what)}: {_plain(why)}" for what, why in found.reasons)]


def _plain(text: str) -> str:
    """Text in which Markdown and HTML see nothing."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    return f"`{text.replace('`', chr(39))}`"


def _block(text: str) -> list[str]:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return [f"{fence}text", text, fence]


def _limited(text: str) -> str:
    encoded = text.encode()
    if len(encoded) <= LIMIT:
        return text
    note = "\n\nThe rest was left out: it is in result.json.\n"
    kept = encoded[: LIMIT - len(note) - 8].decode(errors="ignore").rpartition("\n")[0]
    open_fences = [line for line in kept.splitlines() if line.startswith("```")]
    closing = "\n" + open_fences[-1].removesuffix("text") if len(open_fences) % 2 else ""
    return kept + closing + note
