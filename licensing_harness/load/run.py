"""One load run: Locust's environment around a profile, and the report it leaves.

Locust owns the users (when they start, and when they must end) and keeps its
own statistics (``load/stats.csv``); what each user does is the profile's.
"""

from __future__ import annotations

import csv
import signal
import socket
import threading
from types import FrameType
from typing import Any, ClassVar, Final

import gevent  # type: ignore[import-untyped]
import msgspec
from locust import User, task
from locust.env import Environment
from locust.exception import StopUser
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV

from licensing_harness import __version__
from licensing_harness.clock import RealClock
from licensing_harness.errors import HarnessError, TargetNotReady, UsageError
from licensing_harness.generate.loadrun import LoadResult
from licensing_harness.generate.populations import load_names
from licensing_harness.history import Header, HistoryWriter, Operation
from licensing_harness.load.checkin import Left, Team, TeamLane, teams_for
from licensing_harness.load.lane import Bench
from licensing_harness.load.measures import exit_code, judged
from licensing_harness.load.plan import LoadPlan
from licensing_harness.masking import Masker
from licensing_harness.target.adapter import Http, Target
from licensing_harness.verdict import Exit, worst
from licensing_harness.vocabulary import Cap, Outcome

_END: Final = 2.0
"""Seconds beyond an adapter's timeout that calls under way have to end."""


class Refused(Exception):
    """Never raised to anybody: how Locust is told that a call's outcome is unknown."""


def run(plan: LoadPlan) -> LoadResult:
    """Run the plan to its end and write ``load/history.jsonl``, ``result.json`` and ``stats.csv``.

    SIGINT and SIGTERM end it early, with the same report. Raises TargetNotReady
    when nothing listens at the URL, UsageError when the adapter can't be opened,
    HarnessError when it failed during the run (the report is written all the same).
    """
    _ready(plan)
    _opens(plan)
    load_names()
    masker = Masker()
    for secret in plan.secrets.values():
        masker.register(secret)
    clock = RealClock()
    with HistoryWriter(plan.report / "history.jsonl", _header(plan), masker) as writer:
        bench = Bench(
            adapter=plan.adapter,
            endpoint=plan.endpoint,
            tag=plan.tag,
            prefix=plan.prefix,
            scenario=plan.scenario,
            tries=plan.tries,
            secrets=plan.secrets,
            clock=clock,
            writer=writer,
            timeout=plan.timeout,
            most_requests=plan.most_requests,
        )
        teams = teams_for(bench, plan.users, seed=plan.seed, pause=plan.pause)
        environment, interrupted = _drive(plan, bench, teams)
        seconds = clock.now()
        _clean_up(bench, teams)
    result = _result(plan, bench, seconds, interrupted=interrupted)
    (plan.report / "result.json").write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    with (plan.report / "stats.csv").open("w", newline="", encoding="utf-8") as file:
        StatsCSV(environment, PERCENTILES_TO_REPORT).requests_csv(csv.writer(file))
    if bench.failure is not None:
        raise bench.failure
    return result


def _drive(plan: LoadPlan, bench: Bench, teams: list[Team]) -> tuple[Environment, str]:
    """Let Locust run the teams; the environment with its statistics, and what interrupted it, if anything."""
    seats = iter([(team, index) for team in teams for index in range(team.size)])

    class CheckinUser(DeviceUser):
        free_seats = seats
        shared = bench

    environment = Environment(
        user_classes=[CheckinUser], host=plan.endpoint.url, stop_timeout=_END, catch_exceptions=True
    )

    def measured(operation: Operation, milliseconds: float) -> None:
        environment.events.request.fire(  # type: ignore[no-untyped-call]
            request_type=plan.profile,
            name=operation.verb,
            response_time=milliseconds,
            response_length=0,
            exception=Refused(operation.reason) if operation.unknown else None,
            context={},
        )

    bench.measured = measured
    enough = threading.Event()
    interrupted: list[str] = []

    def interrupt(number: int, _frame: FrameType | None = None) -> None:
        interrupted.append(signal.Signals(number).name)
        enough.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, interrupt, number)
    runner = environment.create_local_runner()
    runner.start(plan.users, spawn_rate=plan.spawn_rate)
    deadline = bench.clock.now() + plan.seconds
    while not (enough.is_set() or bench.over) and (left := deadline - bench.clock.now()) > 0:
        enough.wait(min(left, 0.1))
    bench.stopping = True
    for team in teams:
        team.leave()
    runner.user_greenlets.join(timeout=plan.timeout + _END)  # they leave by themselves; quit() ends who does not
    runner.quit()
    return environment, interrupted[0] if interrupted else ""


def _clean_up(bench: Bench, teams: list[Team]) -> None:
    """End every team's story, all at once: a target that hangs then costs one timeout a try, and no more."""

    def close(team: Team) -> None:
        try:
            team.close()
        except HarnessError as error:
            bench.fail(error)

    closing = [threading.Thread(target=close, args=(team,)) for team in teams]
    for each in closing:
        each.start()
    for each in closing:
        each.join()


class DeviceUser(User):
    """A Locust user: one device, for as long as the run goes on."""

    abstract = True
    free_seats: ClassVar[Any]
    shared: ClassVar[Bench]
    _lane: TeamLane | None = None

    def on_start(self) -> None:
        """Take a place in a team."""
        team, index = next(self.free_seats)
        self._lane = team.lane(index)

    @task
    def check_in(self) -> None:
        """Play one story with the team."""
        try:
            if self._lane is not None:
                self._lane.play()
            if self.shared.over:
                raise Left  # noqa: TRY301 - one way out for all
        except Left:
            raise StopUser from None
        except HarnessError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - Locust would log it and go on
            self._fail(HarnessError(f"the load profile failed: {type(error).__name__}: {error}"))

    def _fail(self, error: HarnessError) -> None:
        self.shared.fail(error)
        raise StopUser from error

    def on_stop(self) -> None:
        """Leave the team; it does not go on without this device."""
        if self._lane is not None:
            self._lane.close()
            self._lane = None


def _ready(plan: LoadPlan) -> None:
    """Raise TargetNotReady unless something listens at the URL."""
    try:
        socket.create_connection((plan.endpoint.address, plan.endpoint.port), timeout=plan.timeout).close()
    except OSError as error:
        message = f"{plan.endpoint.url}: nothing answers ({error}). Start the target, or correct --url."
        raise TargetNotReady(message) from error


class _Closed:
    """A ``target.http`` for opening an adapter once before the run: opening sends nothing."""

    async def request(self, method: str, url: str, **_: Any) -> Any:
        message = f"open() sent {method} {url}; it must not speak to the target"
        raise UsageError(message)


def _opens(plan: LoadPlan) -> None:
    """Open an adapter before any user is there: a missing secret is said once and in time."""
    http: Http = _Closed()
    target = Target(
        url=plan.endpoint.url, timeout=plan.timeout, http=http, client="vendor", tag=plan.tag, secrets=plan.secrets
    )
    adapter = plan.adapter()
    adapter.open(target)
    closing: Any = adapter.close()
    if hasattr(closing, "close"):
        closing.close()


def _header(plan: LoadPlan) -> Header:
    return Header(
        run=plan.tag,
        harness=__version__,
        target=plan.endpoint.url,
        capabilities=tuple(sorted(cap.value for cap in plan.adapter.capabilities)),
        not_applicable={cap.value: why for cap, why in plan.adapter.not_applicable.items()},
        contract=plan.adapter.contract.as_dict(),
        seed=plan.seed,
    )


def _result(plan: LoadPlan, bench: Bench, seconds: float, *, interrupted: str) -> LoadResult:
    thresholds = judged(plan.thresholds, bench.samples)
    ended = sum(len(each.milliseconds) for each in bench.samples.values())
    unknown = sum(each.outcomes[Outcome.UNKNOWN] for each in bench.samples.values())
    notes, codes = [], [exit_code(thresholds)]
    if interrupted:
        notes.append(f"ended early by {interrupted}")
        codes.append(Exit.INTERRUPTED)
    if bench.requests >= plan.most_requests:
        notes.append(f"ended early: the cap of {plan.most_requests} requests was reached")
    if bench.left:
        notes.append(f"{len(bench.left)} licences tagged {plan.tag} could not be revoked: {', '.join(bench.left[:5])}")
        codes.append(Exit.CLEAN_UP)
    elif Cap.REVOKE not in plan.adapter.capabilities:
        notes.append(f"{bench.stories} licences stay on the target, tagged {plan.tag}: its adapter can't revoke")
    if bench.failure is not None:
        notes.append(str(bench.failure))
        codes.append(bench.failure.exit_code)
    return LoadResult(
        profile=plan.profile,
        url=plan.endpoint.url,
        seed=plan.seed,
        users=plan.users,
        seconds=round(seconds, 3),
        stories=bench.stories,
        left=len(bench.left),
        requests=bench.requests,
        rate=round(ended / seconds, 1) if seconds else 0.0,
        unknown_share=unknown / ended if ended else None,
        verbs=[bench.samples[verb].result(verb) for verb in sorted(bench.samples)],
        thresholds=thresholds,
        exit_code=int(worst(codes)),
        notes=notes,
    )
