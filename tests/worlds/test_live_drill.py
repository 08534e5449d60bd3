"""The outage drill holds on a good target, and every way in which it can fail is shown."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from toy_live import TOKEN, AsyncToy, State, needs_binary, served

from licensing_harness import Adapter, Denied
from licensing_harness.errors import NotRun, Undecided
from licensing_harness.faults.outage import outage
from licensing_harness.history import Header, HistoryWriter
from licensing_harness.masking import Masker
from licensing_harness.target.recorder import no_answer
from licensing_harness.worlds.live import LiveWorld
from licensing_harness.worlds.live_story import LiveStory
from licensing_harness.worlds.story import Setting

pytest.importorskip("licensing_harness.suite")
from scenarios.outage import test_outage_drill as drill

Outage = Callable[..., AbstractContextManager[Any]]


class Nowhere(State):
    """A target whose release does not free the seat."""

    def apply(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return (200, {"features": ["base"]}) if path == "/release" else super().apply(path, body)


class Stubborn(AsyncToy):
    """A client that once it got no answer never asks again."""

    broken = False

    async def validate(self, key: str, machine: str | None = None) -> Any:
        if self.broken:
            raise ConnectionResetError("still down")
        try:
            return await super().validate(key, machine)
        except Exception as error:
            self.broken = no_answer(error) is not None
            raise


class ReadsUnknownAsRefused(AsyncToy):
    """The defect of adapters: no answer becomes a no."""

    async def activate(self, key: str, machine: str) -> Any:
        try:
            return await super().activate(key, machine)
        except Exception as error:
            if no_answer(error) is None:
                raise
            return Denied("no-answer")


class Unsteady(AsyncToy):
    """Never says yes."""

    async def validate(self, key: str, machine: str | None = None) -> Any:
        return Denied("maintenance")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., LiveStory]]:
    """Runs the drill on a toy target and returns its story."""
    worlds: list[LiveWorld] = []

    def go(
        adapter: type[Adapter] = AsyncToy,
        *,
        state: type[State] = State,
        faults: str = "embedded",
        fault: Outage | None = None,
    ) -> LiveStory:
        masker = Masker()
        setting = Setting(
            adapter=adapter,
            writer=HistoryWriter(None, Header(), masker),
            masker=masker,
            seed=1,
            tag="drill",
            timeout=2,
            secrets={"api_token": TOKEN},
        )
        with served(state(tmp_path / "log")) as url:
            world = LiveWorld(url, setting, faults=faults)
            worlds.append(world)
            try:
                with world.story(scenario="drill") as story:
                    drill.test_outage_drill(story, fault or functools.partial(outage, story))
            finally:
                world.close()
        return story

    yield go
    for world in worlds:
        world.close()


@pytest.mark.parametrize(
    "faults",
    [
        "embedded",
        pytest.param("toxiproxy", marks=needs_binary),
    ],
)
def test_it_holds_on_a_good_target(run: Callable[..., LiveStory], faults: str) -> None:
    """Every fault was set, met and removed; unknown outcomes happened and nothing was refused."""
    story = run(faults=faults)
    assert [(each.fault, each.detail["stream"]) for each in story.history.faults] == [
        (kind.replace("_", "-"), stream) for kind, stream, _ in drill.FAULTS
    ]
    assert all(each.met >= 1 and each.end is not None for each in story.history.faults)
    assert sum(each.unknown for each in story.history.operations) >= 18
    assert not any(each.refused for each in story.history.operations)


def test_an_adapter_that_reads_unknown_as_refused(run: Callable[..., LiveStory]) -> None:
    """The planted adapter's defect is found in the first fault that loses a call."""
    with pytest.raises(AssertionError, match="refused because of a timeout upstream"):
        run(ReadsUnknownAsRefused)


def test_a_target_that_does_not_recover(run: Callable[..., LiveStory], monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that still get no answer when the fault is long gone are found."""
    monkeypatch.setattr(drill, "RECOVERY", 0.3)
    with pytest.raises(AssertionError, match=r"0.3 s after the timeout was gone: ConnectionResetError"):
        run(Stubborn)


def test_a_target_that_leaks_seats(run: Callable[..., LiveStory]) -> None:
    """Seats that are not free after their release are found."""
    with pytest.raises(AssertionError, match="one is not free again: no-free-seat"):
        run(state=Nowhere)


def test_an_outage_without_effect_is_undecided(run: Callable[..., LiveStory]) -> None:
    """When calls are answered in the middle of an outage nothing was proved."""
    with pytest.raises(Undecided, match=r"timeout upstream was on, and #\d+ was answered all the same"):
        run(fault=lambda *_, **__: nullcontext())


def test_no_steady_state_is_undecided(run: Callable[..., LiveStory]) -> None:
    """A target that does not work before the outage is not accused of the outage."""
    with pytest.raises(Undecided, match="no steady state before the first fault"):
        run(Unsteady)


def test_it_is_not_run_without_a_wire() -> None:
    """In the simulated world the drill is not run, with the reason."""

    class Simulated:
        world = "simulated"

    with pytest.raises(NotRun, match="the simulated world has none"):
        drill.test_outage_drill(Simulated(), nullcontext)
