"""A finding in words: what was promised, expected and observed, by which records, and how to see it again."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from licensing_harness.checkers.tally import finding
from licensing_harness.errors import PromiseBroken
from licensing_harness.history import StoryHistory, summary
from licensing_harness.masking import Masker
from licensing_harness.verdict import Exit, Finding, RunResult, StoryJudgement, Verdict

MEANINGS: Final[Mapping[int, str]] = {
    Exit.HELD: "every promise that was tried held",
    Exit.BROKEN: "the target broke a promise",
    Exit.INTERRUPTED: "the run was interrupted",
    Exit.HARNESS_ERROR: "the run can't be trusted",
    Exit.USAGE: "an option, an adapter or a file is not usable",
    Exit.NOTHING_COLLECTED: "no scenario was found",
    Exit.WARNINGS: "too many warnings",
    Exit.UNDECIDED: "not everything that was tried could be decided",
    Exit.THRESHOLD: "a threshold was missed",
    Exit.NOT_READY: "the target was not ready",
    Exit.GUARD: "a safety guard refused",
    Exit.CLEAN_UP: "something of ours was left behind",
}
"""What each exit code says, in one clause."""

_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")

SHOWN: Final = 12
"""Records that one finding shows at most; the case file has all of the story."""


def clean(text: str) -> str:
    """Text in which a target can't paint the screen: control characters but line ends are made visible."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def many(count: int, one: str, more: str = "") -> str:
    """A count with its noun: ``1 story``, ``1,200 stories``."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def meaning(result: RunResult) -> str:
    """What the run's exit code says."""
    if result.exit_code == Exit.BROKEN and not result.findings:
        return "a test failed; it accuses no promise"
    return MEANINGS.get(result.exit_code, "the run ended in a way that nobody foresaw")


def replay_command(case: str) -> str:
    """The command that shows a finding again."""
    return f"licensing-harness replay {case}"


def short(row: Mapping[str, Any]) -> str:
    """One record in a few words: ``#2 0.020s laptop activate accepted``."""
    head = f"#{row['n']} {row['at']:.3f}s"
    if "fault" in row:
        return f"{head} {row['fault']}" + (f" of {row['where']}" if row["where"] else "")
    return f"{head} {row['client']} {row['verb']} {_outcome(row)}"


def _outcome(row: Mapping[str, Any]) -> str:
    reason = f" ({row['reason']})" if row.get("reason") else ""
    return f"{row['outcome']}{reason}"


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Records in columns, one a line: number, time, client, verb, what it was about, outcome and reason."""
    cells = []
    for row in rows[:SHOWN]:
        head = [f"#{row['n']}", f"{row['at']:.3f}s"]
        if "fault" in row:
            until = f"until {row['until']:.3f}s" if "until" in row else "not removed"
            cells.append([*head, "fault", row["fault"], row["where"], f"{until}, met {row['met']}"])
        else:
            cells.append([*head, row["client"], row["verb"], about(row), _outcome(row)])
    widths = [max((len(line[column]) for line in cells), default=0) for column in range(5)]
    lines = []
    for line in cells:
        number, time, *rest = line
        columns = [number.ljust(widths[0]), time.rjust(widths[1])]
        columns += [text.ljust(width) for text, width in zip(rest, [*widths[2:], 0], strict=True)]
        lines.append("  ".join(columns).rstrip())
    if len(rows) > SHOWN:
        lines.append(f"... and {len(rows) - SHOWN} more")
    return lines


def about(row: Mapping[str, Any]) -> str:
    """What an operation was about: its licence, and what was asked for."""
    licence = f"licence={row['licence']} " if row["licence"] else ""
    return f"{licence}{summary(_shown(row))}".strip()


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked, without what every issue is asked for."""
    asked: Mapping[str, Any] = row.get("asked") or {}
    left_out = {"plan", "customer", "features"} if row["verb"] == "issue" else {"after"}
    return {name: value for name, value in asked.items() if name not in left_out}


def finding_text(found: Finding) -> str:
    """A finding in full. Its first line is the promise: that is all which survives in pytest's summary."""
    lines = [
        f"{found.promise} {found.sentence}",
        f"  expected  {found.expected}",
        f"  observed  {found.observed}",
        "  evidence",
        *(f"    {line}" for line in table(found.evidence)),
    ]
    if found.control:
        lines += ["  control   the same call, one after the other", *(f"    {line}" for line in table(found.control))]
    lines.append(f"  replay    {replay_command(found.case)}")
    return clean("\n".join(lines))


def promise_broken(judgement: StoryJudgement, story: StoryHistory, masker: Masker | None = None) -> PromiseBroken:
    """The failure of a test whose story broke promises; the first of them leads."""
    texts = [finding_text(finding(each, story)) for each in judgement.violations]
    text = "\n\n".join(texts)
    return PromiseBroken((masker or Masker()).mask(text))


def masked(result: RunResult, masker: Masker) -> RunResult:
    """The result without any secret: what every report is made of."""
    return msgspec.json.decode(masker.mask(msgspec.json.encode(result).decode()), type=RunResult)


def masked_story(story: StoryHistory, masker: Masker) -> StoryHistory:
    """The story without any secret: what drawings of it are made of.

    Texts are masked one by one and before they are cut, so that no part of a secret is left over.
    """
    operations = [
        msgspec.structs.replace(
            each,
            client=masker.mask(each.client),
            verb=masker.mask(each.verb),
            licence=masker.mask(each.licence),
            reason=masker.mask(each.reason),
            asked=_masked(each.asked, masker),
            answer=_masked(each.answer, masker),
        )
        for each in story.operations
    ]
    faults = [
        msgspec.structs.replace(each, where=masker.mask(each.where), detail=_masked(each.detail, masker))
        for each in story.faults
    ]
    return dataclasses.replace(
        story,
        scenario=masker.mask(story.scenario),
        operations=operations,
        faults=faults,
        plan=_masked(story.plan, masker),
        not_run=masker.mask(story.not_run),
    )


def _masked(value: Any, masker: Masker) -> Any:
    match value:
        case str():
            return masker.mask(value)
        case Mapping():
            return {_masked(name, masker): _masked(each, masker) for name, each in value.items()}
        case list() | tuple():
            return [_masked(each, masker) for each in value]
    return value


def clarity(found: Finding) -> tuple[bool, bool, int, int]:
    """Which finding explains itself best: with its control, repeatable, with little evidence, early in its story."""
    last = max((int(row["n"]) for row in found.evidence), default=0)
    return not found.control, found.world != "simulated", len(found.evidence), last


def promise_reasons(result: RunResult, verdict: Verdict) -> dict[str, str]:
    """Why promises came to ``verdict``, by their ids."""
    return {each.id: each.reason for each in result.promises if each.verdict is verdict}


def scenario_reasons(result: RunResult, verdict: Verdict) -> dict[str, str]:
    """Why scenarios came to ``verdict``, by their names with the world."""
    return {f"{each.id} [{each.world}]": each.reason for each in result.scenarios if each.verdict is verdict}


def ranges(ids: Sequence[str]) -> str:
    """Ids in order, with runs of a family made short: ``SEA-001..003, VAL-005``."""
    runs: list[tuple[str, int, int]] = []
    for each in sorted(ids):
        family, _, number = each.rpartition("-")
        if not number.isdigit():
            runs.append((each, -1, -1))
        elif runs and runs[-1][0] == family and runs[-1][2] == int(number) - 1:
            runs[-1] = family, runs[-1][1], int(number)
        else:
            runs.append((family, int(number), int(number)))
    return ", ".join(
        family if first < 0 else f"{family}-{first:03d}" if first == last else f"{family}-{first:03d}..{last:03d}"
        for family, first, last in runs
    )


def grouped(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    """Names by the reason they share, in the order in which the reasons first came."""
    groups: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        groups.setdefault(reason, []).append(name)
    return groups
