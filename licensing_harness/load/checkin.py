"""The profile ``checkin``: a customer's devices share a licence that has fewer seats than they are.

One team of devices plays one customer's story after another::

    vendor    issue                                                revoke
    devices          | activate  stay  release | activate ... |    validate | validate
                     ^ all at once             ^ all at once                ^ all at once

``stay`` is a few rounds of pause, heartbeat (who holds a seat) and validate (who
does not tries once more for one). A vertical bar is a point where all devices
meet, so that they are sure to ask at the same time: an overlap is made, not
hoped for. In every second story the vendor revokes while the others validate, and
they ask again afterwards; the other stories' licences are revoked at their end,
so that a run leaves nothing good behind.

Plain threads would run it as well; Locust's process turns them into greenlets.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from licensing_harness.entropy import stream
from licensing_harness.generate.populations import Customer, population
from licensing_harness.load.lane import Bench, Lane, LoadStory
from licensing_harness.target.recorder import LicenceState
from licensing_harness.vocabulary import Cap, Reason
from licensing_harness.worlds.story import VENDOR

TEAM: Final = (2, 4)
"""The least and the most devices that share a licence."""

ROUNDS: Final = (1, 3)
STAY: Final = (2, 4)
RELEASES: Final = 0.8
"""How often a device that goes gives its seat back; else the lease has to end it."""

UNSOLD: Final = 5.0
"""Pauses that a team waits after an issue that was not acknowledged."""

LONGEST_BOUND: Final = 2.0
"""Seconds that a team waits for a revoke to be seen; a target that states more is left before."""

_TRIES: Final = 3


class Left(Exception):
    """The run is over, or another device of the team has left: this one leaves too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """What was drawn for one story."""

    rounds: int
    revokes: bool


class Team:
    """The devices of one customer at a time; ``size`` lanes call ``story`` again and again."""

    def __init__(self, bench: Bench, number: int, size: int, *, seed: int, pause: float) -> None:
        self.number = number
        self.size = size
        self._bench = bench
        self._pause = pause
        self._seed = f"{seed}/team/{number}"
        self._customers: Iterator[Customer] = population(
            self._seed, devices=(size, size), tag=f"{bench.tag}-{number}" if bench.tag else ""
        )
        self._meeting = threading.Barrier(size, action=self._met)
        self._vendor = Lane(bench, VENDOR)
        self._story: LoadStory | None = None
        self._customer: Customer | None = None
        self._script = Script(rounds=1, revokes=False)
        self._revoked = False

    def lane(self, index: int) -> TeamLane:
        """The lane of device ``index`` (from 0)."""
        return TeamLane(self, index, Lane(self._bench, f"device-{index + 1}"))

    def meet(self) -> None:
        """Wait for the whole team. Raises Left when it will not come together any more."""
        if self._bench.over:
            self.leave()
        try:
            self._meeting.wait()
        except threading.BrokenBarrierError:
            raise Left from None

    def _met(self) -> None:
        if self._story is not None:
            self._story.settled()

    def leave(self) -> None:
        """Break up the team: nobody waits for anybody any more."""
        self._meeting.abort()

    def close(self) -> None:
        """End the story that was under way; every lane must have left."""
        try:
            self._end_story()
        finally:
            self._vendor.close()

    def _end_story(self) -> None:
        """Nothing that was sold stays: revoke it if the story did not, and close the record."""
        story = self._story
        if story is None:
            return
        grant = story.licence.grant
        if grant is not None and not self._revoked and Cap.REVOKE in self._bench.adapter.capabilities:
            for _ in range(_TRIES):
                revoked = self._vendor.call(story, "revoke", cleaning=True)
                if revoked is not None and (revoked.accepted or revoked.reason == Reason.REVOKED):
                    break
            else:
                self._bench.left.append(grant.id)
        story.close()
        self._story = None

    def open_story(self) -> None:
        """The vendor sells to the next customer; called by one lane while the others wait."""
        self._end_story()
        self._revoked = False
        self._customer = next(self._customers)
        draw = stream(self._seed, "script", self._customer.number)
        can_revoke = Cap.REVOKE in self._bench.adapter.capabilities
        self._script = Script(rounds=draw.randint(*ROUNDS), revokes=can_revoke and self._customer.number % 2 == 1)
        licence = LicenceState(LoadStory.LABEL, self._customer.spec)
        self._story = LoadStory(self._bench, licence, seed=f"{self._seed}/{self._customer.number}")
        repeatable = Cap.IDEMPOTENCY in self._bench.adapter.capabilities
        for _ in range(_TRIES if repeatable else 1):
            self._vendor.call(self._story, "issue")
            if licence.grant is not None:
                break

    def revoke(self) -> None:
        """The vendor revokes; called by one lane."""
        if self._story is not None:
            revoked = self._vendor.call(self._story, "revoke")
            self._revoked = revoked is not None and revoked.accepted

    @property
    def story(self) -> LoadStory | None:
        """The story under way, once its licence was acknowledged."""
        return self._story if self._story is not None and self._story.licence.grant is not None else None

    @property
    def script(self) -> Script:
        """What was drawn for the story under way."""
        return self._script

    def device(self, index: int) -> str:
        """The name of the customer's device ``index``."""
        return "" if self._customer is None else self._customer.devices[index].name

    def pause(self, share: float) -> None:
        """Let some time pass: the run's mean pause times ``share``."""
        if not self._bench.over:
            self._bench.clock.sleep(self._pause * share)


class TeamLane:
    """One device of a team."""

    def __init__(self, team: Team, index: int, lane: Lane) -> None:
        self._team = team
        self._index = index
        self._lane = lane
        self._caps = lane.bench.adapter.capabilities
        self._draw = stream(0)

    @property
    def _leads(self) -> bool:
        return self._index == 0

    def play(self) -> None:
        """Play one story with the rest of the team. Raises Left at the end of the run."""
        team = self._team
        team.meet()
        if self._leads:
            team.open_story()
        team.meet()
        story = team.story
        if story is None:
            team.pause(UNSOLD)
            return
        self._draw = stream(story.seed, "device", self._index)
        device = team.device(self._index)
        for _ in range(team.script.rounds):
            team.meet()
            self._round(story, device)
        team.meet()
        if team.script.revokes:
            self._farewell(story, device)

    def _round(self, story: LoadStory, device: str) -> None:
        seated = self._take_seat(story, device)
        for step in range(self._draw.randint(*STAY)):
            self._pause()
            if seated and Cap.HEARTBEAT in self._caps:
                beat = self._lane.call(story, "heartbeat", device=device)
                seated = beat is not None and not beat.refused
            elif not seated and step:
                seated = self._take_seat(story, device)
            self._lane.call(story, "validate", device=device)
        if seated and self._draw.random() < RELEASES:
            self._lane.call(story, "release", device=device)

    def _pause(self) -> None:
        """Exponentially distributed with a mean of the run's pause, and at most five times that."""
        self._team.pause(min(self._draw.expovariate(1.0), 5.0))

    def _take_seat(self, story: LoadStory, device: str) -> bool:
        if Cap.SEATS not in self._caps:
            return False
        taken = self._lane.call(story, "activate", device=device)
        return taken is not None and not taken.refused

    def _farewell(self, story: LoadStory, device: str) -> None:
        if self._leads:
            self._pause()
            self._team.revoke()
        else:
            for _ in range(2):
                self._pause()
                self._lane.call(story, "validate", device=device)
        self._team.meet()
        bound = self._lane.bench.adapter.contract.revocation_bound
        if bound and bound <= LONGEST_BOUND and not self._lane.bench.over:
            self._lane.bench.clock.sleep(bound)
        self._lane.call(story, "validate", device=device)
        self._lane.call(story, "validate", device=device)
        if Cap.SEATS in self._caps:
            self._lane.call(story, "activate", device=device)

    def close(self) -> None:
        """Break up the team and let go of the adapter's connections."""
        self._team.leave()
        self._lane.close()


def teams_for(bench: Bench, users: int, *, seed: int, pause: float) -> list[Team]:
    """Teams whose sizes add up to ``users``; the last one may be a single device."""
    teams: list[Team] = []
    draw = stream(seed, "teams")
    left = users
    while left:
        size = min(left, draw.randint(*TEAM))
        teams.append(Team(bench, len(teams) + 1, size, seed=seed, pause=pause))
        left -= size
    return teams
