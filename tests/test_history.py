"""Histories are written, read back, and refused with file and line when they are damaged."""

from __future__ import annotations

import errno
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from licensing_harness.errors import HarnessError, UsageError
from licensing_harness.history import (
    SCHEMA,
    Begun,
    Fault,
    Header,
    HistoryReader,
    HistoryWriter,
    Operation,
    Record,
    StoryEnded,
    StoryOpened,
    iter_stories,
    lines_of,
    read_header,
    read_history,
    stories_of,
    summary,
)
from licensing_harness.masking import Masker
from licensing_harness.vocabulary import Contract, FaultKind, Outcome

HEADER = Header(
    run="r1",
    target="http://127.0.0.1:1",
    capabilities=("issue", "seats"),
    not_applicable={"rollout": "elsewhere"},
    contract={"lease": 2.0, "unheard_of": 1.0},
    seed=7,
)


def records(story: str = "s1") -> list[Record]:
    return [
        StoryOpened(story=story, world="live", scenario="seats::race", tries=("SEA-001",), seed="7/1"),
        Begun(n=1, story=story, client="vendor", verb="issue", begin=0.0, licence="L1", asked={"seats": 1}),
        Operation(
            n=1,
            story=story,
            client="vendor",
            verb="issue",
            begin=0.0,
            end=0.25,
            outcome=Outcome.ACCEPTED,
            licence="L1",
            asked={"seats": 1},
            answer={"id": "id-1"},
        ),
        Begun(n=2, story=story, client="laptop", verb="activate", begin=0.5, licence="L1"),
        Fault(n=3, story=story, fault=FaultKind.CRASH, begin=0.6, end=0.7, where="server", met=1, detail={"pid": 3}),
        StoryEnded(story=story, plan=[{"do": "settle"}]),
    ]


def write(path: Path, *lines: Record) -> Path:
    with HistoryWriter(path, HEADER) as writer:
        writer.write(*lines)
    return path


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """Header, contract, story, operations, faults and plan."""
    history = read_history(write(tmp_path / "h.jsonl", *records()))

    assert history.header == HEADER
    assert history.contract == Contract(lease=2.0)
    story = history.stories["s1"]
    assert (story.world, story.scenario, story.tries, story.seed) == ("live", "seats::race", ("SEA-001",), "7/1")
    assert story.complete
    assert story.plan == [{"do": "settle"}]
    assert story.record(1) == records()[2]
    assert story.record(3) == records()[4]
    assert story.record(99) is None
    assert history.torn == ""


def test_begin_without_an_end_is_an_unknown_operation(tmp_path: Path) -> None:
    """The call was sent; nobody knows what became of it."""
    story = read_history(write(tmp_path / "h.jsonl", *records())).stories["s1"]

    operation = story.record(2)

    assert isinstance(operation, Operation)
    assert operation.unknown
    assert operation.end is None
    assert operation.ended == float("inf")
    assert (operation.client, operation.verb) == ("laptop", "activate")


def test_stories_survive_a_second_writing(tmp_path: Path) -> None:
    """The lines of a story that was read are the story."""
    story = read_history(write(tmp_path / "h.jsonl", *records())).stories["s1"]
    story.not_run = "the rest needs a clock"

    again = read_history(write(tmp_path / "again.jsonl", *lines_of(story))).stories["s1"]

    story.announced = again.announced = True
    assert again == story


def test_torn_last_line_is_dropped_and_said(tmp_path: Path) -> None:
    """Wherever the cut is, the story is read, not complete, and judged by its begins."""
    path = write(tmp_path / "h.jsonl", *records())
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for cut in (last + 1, len(whole) - 2):
        path.write_bytes(whole[:cut])

        history = read_history(path)

        assert f"{path}:7: the last line was cut" in history.torn
        assert not history.stories["s1"].complete
        assert history.stories["s1"].judgeable


def test_last_line_without_its_newline_is_whole(tmp_path: Path) -> None:
    """Only the newline is missing: nothing is dropped."""
    path = write(tmp_path / "h.jsonl", *records())
    path.write_bytes(path.read_bytes()[:-1])

    history = read_history(path)

    assert history.torn == ""
    assert history.stories["s1"].complete


def test_story_cut_short_without_begins_is_not_judgeable(tmp_path: Path) -> None:
    """What was under way is not in the record: a simulated run that was killed."""
    opened, _, issue, *_ = records()

    story = read_history(write(tmp_path / "h.jsonl", opened, issue)).stories["s1"]

    assert not story.complete
    assert not story.judgeable


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b'{"kind":"operation","n":1,"story":"s', "malformed"),
        (b"\x00\xff\x13 junk", "malformed|invalid|character"),
        (b"", "truncated"),
        (b"[1,2]", "Expected `object`"),
        (b'{"kind":"surprise"}', "Invalid value 'surprise'"),
        (b'{"kind":"operation","n":"one","story":"s1","client":"c","verb":"v","begin":0}', r"\$\.n"),
        (b'{"kind":"operation","n":9,"story":"s9","client":"c","verb":"v","begin":0}', "'s9' was never opened"),
        (b'{"kind":"story","story":"s1","world":"live","scenario":"x"}', "'s1' was opened before"),
        (b'{"kind":"header"}', "Invalid value 'header'"),
    ],
)
def test_damage_elsewhere_is_refused_with_file_and_line(tmp_path: Path, line: bytes, what: str) -> None:
    """Nothing is guessed about a history with a hole."""
    path = write(tmp_path / "h.jsonl", *records())
    lines = path.read_bytes().splitlines()
    lines.insert(3, line)
    path.write_bytes(b"\n".join(lines) + b"\n")

    with pytest.raises(UsageError, match=what) as error:
        read_history(path)

    assert f"{path}:4: damaged history" in str(error.value)
    assert error.value.exit_code == 4


def test_record_after_the_end_of_its_story_is_refused(tmp_path: Path) -> None:
    """A story that was given out can't change any more."""
    late = records()[2]

    with pytest.raises(UsageError, match="'s1' was already over"):
        read_history(write(tmp_path / "h.jsonl", *records(), late))


def test_history_of_a_future_version_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """Also when its header has become something this version can't read."""
    path = tmp_path / "h.jsonl"
    for extra in ({}, {"contract": [1, 2]}):
        path.write_text(json.dumps({"kind": "header", "schema": SCHEMA + 1, **extra}) + "\n")

        with pytest.raises(UsageError, match="Upgrade licensing-harness"):
            read_history(path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "not a history"),
        (b"{}\n", "not a history"),
        (b'{"kind":"header","schema":1', "not a history"),
        (b'{"kind":"story","story":"s1","world":"live","scenario":"x"}\n', "not a history"),
        (b'{"kind":"header","contract":{"lease":-1}}\n', "seconds, zero or more"),
    ],
)
def test_what_is_no_history_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    """Empty, binary, another JSON, a torn header, a number that is none."""
    path = tmp_path / "h.jsonl"
    path.write_bytes(content)

    with pytest.raises(UsageError, match=what):
        read_history(path)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    """One line, with the way out."""
    for path in (tmp_path / "nothing.jsonl", tmp_path):
        with pytest.raises(UsageError, match=r"can't be read .* Give a history\.jsonl"):
            read_header(path)


def test_stories_are_given_out_as_they_end(tmp_path: Path) -> None:
    """Two that interleave come in the order of their ends; one that never ends comes last."""
    one, two, three = records("s1"), records("s2"), records("s3")
    path = write(tmp_path / "h.jsonl", three[0], *one[:3], *two[:3], two[-1], *one[3:])

    assert [story.story for story in iter_stories(path)] == ["s2", "s1", "s3"]


def test_reader_can_be_read_twice(tmp_path: Path) -> None:
    """Each reading starts at the beginning."""
    reader = HistoryReader(write(tmp_path / "h.jsonl", *records()))

    assert [story.story for story in reader] == [story.story for story in reader] == ["s1"]


def test_operations_are_read_in_the_order_of_their_beginning(tmp_path: Path) -> None:
    """They are written in the order of their ends."""
    opened, _, issue, *_ = records()
    fields: dict[str, Any] = {"story": "s1", "client": "c", "verb": "validate"}
    late = Operation(n=2, begin=1, end=9, outcome=Outcome.ACCEPTED, **fields)
    early = Operation(n=3, begin=2, end=3, outcome=Outcome.ACCEPTED, **{**fields, "client": "d"})

    story = stories_of([opened, early, late, issue])["s1"]

    assert [each.n for each in story.operations] == [1, 2, 3]


def test_secrets_are_masked_in_every_line(tmp_path: Path) -> None:
    """In answers, reasons and plans, and in the header; shown by a key that is planted in each."""
    masker = Masker()
    masker.register('pl"anted-secret')
    path = tmp_path / "h.jsonl"
    planted = {"text": 'a pl"anted-secret b'}
    with HistoryWriter(path, Header(target='http://pl"anted-secret@host'), masker) as writer:
        writer.write(
            StoryOpened(story="s1", world="live", scenario='x pl"anted-secret'),
            Operation(
                n=1, story="s1", client="c", verb="v", begin=0, reason='pl"anted-secret', asked=planted, answer=planted
            ),
            StoryEnded(story="s1", plan=[planted]),
        )

    assert "anted-secret" not in path.read_text()
    assert path.read_text().count("[masked:") == 6
    assert read_history(path).stories["s1"].complete


def test_writer_is_safe_in_threads_and_flushes_when_durable(tmp_path: Path) -> None:
    """Lines never mix, and are in the file before it is closed."""
    path = tmp_path / "h.jsonl"
    with HistoryWriter(path, HEADER, durable=True) as writer:
        writer.write(records()[0])
        threads = [
            threading.Thread(
                target=lambda lane=lane: [
                    writer.write(Operation(n=lane * 100 + each, story="s1", client=f"c{lane}", verb="v", begin=each))
                    for each in range(50)
                ]
            )
            for lane in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(read_history(path).stories["s1"].operations) == 200
        assert writer.lines == 202


def test_writer_without_a_file_does_nothing() -> None:
    """A simulated story that nobody keeps costs no disk."""
    writer = HistoryWriter(None, HEADER)
    writer.write(*records())
    writer.flush()
    writer.close()

    assert writer.lines == 0


def test_full_disk_is_an_error_of_the_run(tmp_path: Path) -> None:
    """A history with holes can't be judged, so the run stops with the way out."""

    class Full:
        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    writer = HistoryWriter(tmp_path / "h.jsonl", HEADER)
    file = writer._file
    assert file is not None
    file.close()
    for act in (lambda: writer.write(*records()), writer.flush, writer.close):
        writer._file = Full()  # type: ignore[assignment]
        with pytest.raises(HarnessError, match="No space left on device"):
            act()
    with pytest.raises(HarnessError, match="can't be written"):
        HistoryWriter(tmp_path / "h.jsonl" / "below-a-file", HEADER)


def test_summary_leaves_out_what_was_not_asked() -> None:
    """One short text for evidence lines."""
    assert summary({"device": "laptop", "seats": 1, "x": None, "y": [], "z": ""}) == "device=laptop seats=1"
