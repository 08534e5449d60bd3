"""Idempotency: one key makes one licence, whatever happened to the answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from licensing_harness.checkers.index import index_of
from licensing_harness.checkers.trail import Entry, trail_of
from licensing_harness.history import Operation, StoryHistory
from licensing_harness.verdict import Promise, Violation
from licensing_harness.vocabulary import Cap, Contract

_REQUEST = ("plan", "seats", "features", "duration", "customer")


def _request(operation: Operation) -> tuple[Any, ...]:
    """What was asked for: only the same request under the same key is a retry."""
    asked = operation.asked
    return tuple(tuple(value) if isinstance(value := asked.get(name), list) else value for name in _REQUEST)


def _groups(story: StoryHistory) -> list[list[Operation]]:
    """Issues by key and request, in the order in which they began."""
    return index_of(story).once("issues by key", lambda: _grouped(story))


def _grouped(story: StoryHistory) -> Iterable[list[Operation]]:
    groups: dict[tuple[Any, ...], list[Operation]] = {}
    for each in index_of(story).verbs.get("issue", ()):
        key = each.asked.get("idempotency_key")
        if key:
            groups.setdefault((key, *_request(each)), []).append(each)
    return groups.values()


def _acknowledged(issues: Sequence[Operation]) -> list[Operation]:
    return [each for each in issues if each.accepted and each.answer.get("id") is not None]


def _check_one_licence(story: StoryHistory, _: Contract) -> Iterator[Violation]:
    for issues in _groups(story):
        known = _acknowledged(issues)
        other = next((each for each in known[1:] if each.answer["id"] != known[0].answer["id"]), None)
        if other is not None:
            ids = {each.answer["id"] for each in known}
            yield Violation(
                promise="IDM-001",
                story=story.story,
                expected=f"the retry answers the same licence, {known[0].answer['id']}",
                observed=f"{len(ids)} licences under one key; the retry answered {other.answer['id']}",
                evidence=index_of(story).evidence(known[0], other),
            )


def _occasions_one_licence(story: StoryHistory, _: Contract) -> int:
    return sum(max(0, len(_acknowledged(issues)) - 1) for issues in _groups(story))


# IDM-002 ------------------------------------------------------------------------------------


def _mentioned(value: Any, wanted: Mapping[str, int], found: set[int]) -> None:
    if isinstance(value, str):
        if value in wanted:
            found.add(wanted[value])
    elif isinstance(value, Mapping):
        for inner in value.values():
            _mentioned(inner, wanted, found)
    elif isinstance(value, list | tuple):
        for inner in value:
            _mentioned(inner, wanted, found)


def _issue_events(story: StoryHistory) -> list[tuple[list[Operation], list[Entry]]]:
    """For each key that was used: its issues, and the issue events that name it or a licence it answered."""
    return index_of(story).once("issue events", lambda: _found_events(story))


def _found_events(story: StoryHistory) -> list[tuple[list[Operation], list[Entry]]]:
    index = index_of(story)
    trail = trail_of(index)
    groups = _groups(story)
    if not trail.entries or not groups:
        return []
    wanted: dict[str, int] = {}
    for position, issues in enumerate(groups):
        wanted[str(issues[0].asked["idempotency_key"])] = position
        for each in _acknowledged(issues):
            wanted[str(each.answer["id"])] = position
    events: list[list[Entry]] = [[] for _ in groups]
    for entry in trail.entries:
        if entry.action == "issue":
            found: set[int] = set()
            _mentioned([entry.licence, entry.event], wanted, found)
            for position in found:
                events[position].append(entry)
    return list(zip(groups, events, strict=True))


def _check_one_event(story: StoryHistory, _: Contract) -> Iterator[Violation]:
    for issues, events in _issue_events(story):
        if len(events) > 1 and not _has_rival(story, issues):
            index = index_of(story)
            licences = sorted({entry.licence for entry in events})
            yield Violation(
                promise="IDM-002",
                story=story.story,
                expected="one issue event for one key",
                observed=f"{len(events)} issue events, for {', '.join(licences)}",
                evidence=index.evidence(*[each for each in issues if not each.refused][:2], events[1].read_by),
            )


def _has_rival(story: StoryHistory, issues: Sequence[Operation]) -> bool:
    """Whether the key was also used for another request: then events can't be told apart by it."""
    key = issues[0].asked["idempotency_key"]
    return any(
        each.asked.get("idempotency_key") == key and _request(each) != _request(issues[0])
        for each in index_of(story).verbs.get("issue", ())
    )


def _occasions_one_event(story: StoryHistory, _: Contract) -> int:
    # The chance was there when a key was sent again, after a first time that may have worked, before the trail
    # was read, and the trail names the licence at all.
    index = index_of(story)
    last = trail_of(index).last
    if last is None:
        return 0
    return sum(
        1
        for issues, events in _issue_events(story)
        if events and sum(1 for each in issues if not each.refused and each.begin < last.begin) > 1
    )


PROMISES: tuple[Promise, ...] = (
    Promise(
        id="IDM-001",
        sentence="one idempotency key makes one licence, also when the answer was lost or the server restarted",
        needs=frozenset({Cap.ISSUE, Cap.IDEMPOTENCY}),
        check=_check_one_licence,
        occasions=_occasions_one_licence,
        control="no issue was acknowledged twice under one key",
    ),
    Promise(
        id="IDM-002",
        sentence="one idempotency key is one issue event in the audit trail",
        needs=frozenset({Cap.ISSUE, Cap.IDEMPOTENCY, Cap.AUDIT}),
        check=_check_one_event,
        occasions=_occasions_one_event,
        control="no key was sent twice before an audit trail was read that names its licence",
    ),
)
