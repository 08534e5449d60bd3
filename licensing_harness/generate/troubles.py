"""One call under one trouble: the pair under which every mutation must be tried, and a crash.

Answer lost and request lost look the same to the client. They differ in what
the target did, and a target that handles one of them may fail at the other.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from licensing_harness.history import Operation
from licensing_harness.vocabulary import Cap
from licensing_harness.worlds.story import Story

PATIENCE: Final = 8
"""How often a client repeats a call whose outcome it does not know."""


class Trouble(StrEnum):
    """What goes wrong around one call."""

    CALM = "calm"
    ANSWER_LOST = "answer-lost"
    REQUEST_LOST = "request-lost"
    KILLED = "killed"


def arm(story: Story, trouble: Trouble, client: str) -> None:
    """Arm the wire of ``client`` for its next call; nothing for calm and for a kill."""
    if trouble is Trouble.ANSWER_LOST:
        story.cut_next(client, "answer")
    elif trouble is Trouble.REQUEST_LOST:
        story.cut_next(client, "request")


def troubled(story: Story, trouble: Trouble, client: str, verb: str, licence: str = "", **asked: Any) -> None:
    """One call that meets ``trouble``; its outcome may be unknown.

    Raises NotRun when the trouble is a kill and the target can't be restarted.
    """
    if trouble is Trouble.KILLED:
        story.needs(Cap.RESTART)
        story.start(client, verb, licence, **asked)
        story.crash()
        story.settle()
        return
    arm(story, trouble, client)
    story.call(client, verb, licence, **asked)


def insist(story: Story, client: str, verb: str, licence: str = "", **asked: Any) -> Operation | None:
    """Repeat a call until its outcome is known, as a real client would; the last operation."""
    operation = None
    for _ in range(PATIENCE):
        operation = story.call(client, verb, licence, **asked)
        if operation is None or not operation.unknown:
            break
    return operation
