"""``check``: a stored history judged again, by the code that judged it when it ran."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from licensing_harness.checkers.tally import judge_file
from licensing_harness.commands import drilled
from licensing_harness.errors import UsageError
from licensing_harness.history import StoryHistory
from licensing_harness.report.results import encode_result
from licensing_harness.report.terminal import columns, print_result


def run(history: Path, *, as_json: bool) -> int:
    """Judge and show; returns the exit code. Nothing is written. Raises UsageError for what is no history."""
    path = history / "history.jsonl" if history.is_dir() else history
    if not path.is_file():
        message = f"{path}: not there. Give a history.jsonl, or a run directory such as .licensing/runs/latest"
        raise UsageError(message)
    console = Console(stderr=True)
    with console.status(f"judging {path}"):
        drills: list[StoryHistory] = []
        tally = judge_file(path, seen=lambda story: drills.append(story) if story.drill else None)
        found = drilled.rehearsals(drills)
        result = tally.result(codes=drilled.add(tally, found))
        drilled.complete(result, found)
    if as_json:
        sys.stdout.write(encode_result(result))
    else:
        out = Console(highlight=False, width=columns())
        for each in found:
            drilled.show(out, each)
        print_result(Console(width=columns()), result)
    return result.exit_code
