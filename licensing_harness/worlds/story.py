"""One scenario run once: the words with which every scenario drives a target, in either world.

==================  =========================================================
``fresh_licence``   a new licence, issued by the vendor
``start``           send a call and go on; waits only for that client's previous one
``call``            send a call and wait for its outcome
``contend``         every device sends the same call for the same licence, now
``settle``          wait until nothing is under way
``cut_next``        the client's next request, or the answer to it, is lost
``crash``           the target is killed and started again
``fault``           something breaks, for a while or until it is mended
``carry_out``       a whole fault plan begins
``advance``         time passes
``until``           time passes, up to so many seconds after the story's first word
==================  =========================================================

A story records each word as a step of its *plan*: plain data that ``perform``
runs again. No word addresses a call by its position among others, so leaving a
step out does not change what the remaining ones mean.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final, Literal, Protocol, Self

from licensing_harness.errors import NotRun, UsageError, way_out
from licensing_harness.faults.plan import Event, Plan, PlanError, PlannedFault, check_places, numbers, schedule
from licensing_harness.faults.plan_file import Places
from licensing_harness.faults.plan_kinds import KINDS, STREAMS, why_not
from licensing_harness.history import Begun, Fault, HistoryWriter, Operation, StoryHistory, StoryOpened, ending
from licensing_harness.masking import Masker
from licensing_harness.target.adapter import Adapter
from licensing_harness.target.recorder import LicenceState
from licensing_harness.vocabulary import MUTATIONS, Cap, Contract, FaultKind, LicenceSpec
from licensing_harness.worlds.breaking import MOMENTARY, Broken, FaultOn, Wanted

VENDOR: Final = "vendor"
"""The client that issues, renews, suspends and revokes."""

DEVICES: Final = ("laptop", "phone", "tablet")
"""The clients that validate and take seats."""

GAPS: Final = (0.0, 0.001, 0.002, 0.010, 0.050)
"""Seconds between steps: the sizes at which calls overlap in different ways."""

Cut = Literal["request", "answer"]
Sign = Callable[[Mapping[str, Any] | bytes, Mapping[str, Any] | bytes], str]
"""``sign(header, claims) -> compact JWS``; bytes are signed as they are."""
Forge = Callable[[str, str, Sign | None, Sequence[Mapping[str, Any]]], str]
"""``forge(attack id, honest token, sign, published keys) -> forged token``."""

WORDS: Final = (
    "fresh_licence",
    "start",
    "call",
    "contend",
    "settle",
    "cut_next",
    "crash",
    "fault",
    "carry_out",
    "advance",
    "until",
)
"""The steps that a plan may have."""

_SPECIFIED: Final = tuple(each.name for each in fields(LicenceSpec))
TICK: Final = 1e-6
"""Seconds below which two times are the same: what ``now`` is rounded to."""

_WITHOUT_GRANT: Final = frozenset({"issue", "jwks", "audit_log"})


@dataclass(kw_only=True, slots=True)
class Setting:
    """What every world is made with, whichever it is."""

    adapter: type[Adapter]
    writer: HistoryWriter
    masker: Masker
    seed: int
    tag: str
    """Unique to the run; it is in everything that the harness creates."""
    prefix: str = ""
    """Before every story's id, so that several workers' stories stay apart."""
    forge: Forge | None = None
    closed: Callable[[StoryHistory], None] = lambda _: None
    """Called with each story that was closed, to be judged."""
    timeout: float = 5.0
    """Seconds (virtual ones in the simulated world) until a client gives up on an answer."""
    max_requests: int = 1_000_000
    secrets: Mapping[str, str] = field(default_factory=dict)


class World(Protocol):
    """What scenarios and the plugin need of a world."""

    @property
    def name(self) -> str:
        """``simulated`` or ``live``."""
        ...

    @property
    def contract(self) -> Contract:
        """The numbers that the target states."""
        ...

    @property
    def capabilities(self) -> frozenset[Cap]:
        """What the adapter declares, and what this world adds (restart, signing)."""
        ...

    def story(
        self,
        *,
        scenario: str,
        tries: tuple[str, ...] = (),
        seed: str = "",
        drill: Mapping[str, Any] | None = None,
    ) -> Story:
        """A new story. Raises NotRun when this target can't be driven in this world."""
        ...

    def close(self) -> None:
        """Stop what this world started; raises CleanUpIncomplete when something was left behind."""
        ...


class Story(ABC):
    """See the module's table. A story is a context manager; leaving it settles and closes it."""

    world: ClassVar[str]
    devices: ClassVar[tuple[str, ...]] = DEVICES

    def __init__(
        self,
        *,
        history: StoryHistory,
        writer: HistoryWriter,
        masker: Masker,
        contract: Contract,
        capabilities: frozenset[Cap],
        tag: str,
        audit_head: int = 0,
        forge: Forge | None = None,
        closed: Callable[[StoryHistory], None] = lambda _: None,
    ) -> None:
        self.history = history
        self.contract = contract
        self.capabilities = capabilities
        self.closed = False
        self.audit_head = audit_head
        """The highest audit sequence number seen; ``audit_log`` asks for what came after."""
        self._writer = writer
        self._masker = masker
        self._forge = forge
        self._closed = closed
        self._tag = tag
        self._licences: dict[str, LicenceState] = {}
        self._granted: set[str] = set()
        """Ids of the licences that were acknowledged first under their labels."""
        self._on: dict[int, FaultOn] = {}
        """Faults that are on, by number."""
        self._lingering: list[FaultOn] = []
        """What was done at one moment and is met by whoever comes later."""
        self._planned: list[tuple[float, float, Event]] = []
        """Events of fault plans that are still to come: when, when their plan began, and what."""
        self._numbers = 0
        self._origin: float | None = None
        writer.write(
            StoryOpened(
                story=history.story,
                world=history.world,
                scenario=history.scenario,
                tries=history.tries,
                seed=history.seed,
                drill=history.drill,
            )
        )

    # The words ------------------------------------------------------------------------------

    def fresh_licence(
        self,
        *,
        seats: int = 1,
        features: tuple[str, ...] = ("base",),
        duration: float | None = None,
        plan: str = "standard",
        wait: bool = True,
    ) -> str:
        """Issue a licence and, unless told otherwise, wait for the outcome; returns its label, ``L1``, ``L2``, ...

        Under one label there is one idempotency key: ``call("vendor", "issue", label)``
        is the retry of a lost answer.
        """
        label = f"L{len(self._licences) + 1}"
        waits = None if wait else False  # a plan that does not say so waits
        self._step("fresh_licence", seats=seats, features=list(features), duration=duration, plan=plan, wait=waits)
        self._licences[label] = LicenceState(
            label,
            LicenceSpec(
                plan=plan,
                seats=seats,
                features=features,
                duration=duration,
                customer=self._tag,
                idempotency_key=f"{self._tag}-{self.history.story}-{label}",
            ),
        )
        self._begin(VENDOR, "issue", label, {})
        if wait:
            self._wait(VENDOR)
        return label

    def start(self, client: str, verb: str, licence: str = "", **asked: Any) -> None:
        """Send a call and go on. A call for a licence that was never acknowledged is left out."""
        self._step("start", client=client, verb=verb, licence=licence, **asked)
        self._begin(client, verb, licence, asked)

    def call(self, client: str, verb: str, licence: str = "", **asked: Any) -> Operation | None:
        """Send a call, wait, and return the operation (None when it was left out)."""
        self._step("call", client=client, verb=verb, licence=licence, **asked)
        began = self._begin(client, verb, licence, asked)
        self._wait(client)
        if began is None:
            return None
        return next((each for each in reversed(self.history.operations) if each.n == began), None)

    def contend(self, verb: str, licence: str, **asked: Any) -> None:
        """Every device sends ``verb`` for ``licence`` at once."""
        self._step("contend", verb=verb, licence=licence, **asked)
        for device in self.devices:
            self._wait(device)
        for device in self.devices:
            self._begin(device, verb, licence, asked)

    def settle(self) -> None:
        """Wait until no call is under way."""
        self._step("settle")
        self._settle()

    def cut_next(self, client: str, what: Cut) -> None:
        """Lose the client's next request (it never arrives) or its answer (it was applied)."""
        self._step("cut_next", client=client, what=what)
        self._wait(client)
        self._cut(client, what)

    def crash(self, *, power: bool = False) -> None:
        """Kill the target, now, and start it again; with ``power``, lose what was not fsynced."""
        self._step("crash", power=power)
        wanted = Wanted(FaultKind.POWER_LOSS if power else FaultKind.CRASH, lasting=False)
        self._before(wanted)
        self._apply(wanted)

    def fault(
        self,
        kind: FaultKind | str,
        *,
        place: str = "",
        stream: str = "",
        seconds: float | None = None,
        parameters: Mapping[str, float] | None = None,
    ) -> FaultOn:
        """Break something, now, as an event of a fault plan does.

        It is mended after ``seconds``, or by ``mend``, or at the story's end.

        ``parameters`` are those of the kind in a fault plan. ``place`` is a link,
        node or store; by default the only one there is. Without ``seconds`` a
        crash, a restart and a jump of a clock are over at once. Raises
        UsageError for a kind that is none or does not take what is given, NotRun
        where this world or target can't do it, HarnessError when it could not
        be set.
        """
        kind = _fault_kind(kind)
        stream, parameters = _taken(kind, stream, parameters or {})
        self._step("fault", kind=kind.value, place=place, stream=stream, seconds=seconds, parameters=parameters or None)
        lasting = seconds is not None or kind not in MOMENTARY
        wanted = Wanted(kind, place, stream, parameters, lasting)
        self._before(wanted)
        return self._apply(wanted, math.inf if seconds is None else self.now + seconds)

    def carry_out(self, faults: Plan | Sequence[Mapping[str, Any]], *, seed: int | str | None = None) -> None:
        """Carry out a fault plan from now on: a Plan, or its tables as a plan's file has them.

        In the simulated world each fault begins and ends at its very time, also
        while the story waits for something else. In the live one that happens
        as soon as ``advance`` or ``mend_due`` is called. A fault whose time
        never comes, for the story ended before, is in the history as one that
        was not met. ``seed`` decides the plan's chance, by default the story's.

        Raises UsageError for a plan that can't be meant, NotRun where this
        world can't do a fault that is in it.
        """
        plan = faults if isinstance(faults, Plan) else Plan(tuple(map(PlannedFault.of, faults)))
        self._step("carry_out", faults=[each.as_table() for each in plan.faults], seed=seed)
        for each in plan.faults:
            reason = why_not(each.kind, self.world)
            if reason:
                message = f"the {self.world} world can't do {each.kind}: {reason}"
                raise NotRun(message)
        places = self._places()
        if places is not None:
            check_places(plan, links=places.links, nodes=places.nodes, stores=places.stores)
        begin = self.now
        for event in schedule(plan, self.history.seed if seed is None else seed):
            self._planned.append((round(begin + event.begin, 6), begin, event))
            self._due(self._planned[-1][0])
        self._planned.sort(key=lambda planned: planned[0])
        self.mend_due()

    def _apply(self, wanted: Wanted, until: float = math.inf) -> FaultOn:
        n, begin = self._number(), self.now
        broken = self._break(wanted)
        # Rounded as the story's times are: it must not be over a moment after it is due.
        on = FaultOn(n, wanted, begin, round(until, 6) if until < math.inf else until, broken)
        if not wanted.lasting and _lingers(broken):
            self._lingering.append(on)
            return on
        self._on[n] = on
        if not wanted.lasting:
            self.mend(on)
        elif until < math.inf:
            self._due(on.until)
        return on

    def mend(self, on: FaultOn) -> None:
        """End a fault; nothing when it is over already. Raises what :meth:`Broken.mend` raises."""
        if self._on.pop(on.n, None) is None:
            return
        self._end(on)

    def _end(self, on: FaultOn) -> None:
        try:
            met = on.broken.mend()
        except KeyboardInterrupt:
            self._on[on.n] = on  # it may still be there: who lets go of the story ends it
            raise
        except BaseException:
            self._record(on, met=0, end=None)
            raise
        self._record(on, met=met, end=self.now if on.wanted.lasting or not _lingers(on.broken) else on.begin)

    def _record(self, on: FaultOn, *, met: int, end: float | None) -> None:
        self._faulted(
            Fault(
                n=on.n,
                story=self.history.story,
                fault=on.wanted.kind,
                begin=on.begin,
                end=end,
                where=on.broken.where,
                met=met,
                detail=dict(on.broken.detail),
            )
        )

    def mend_due(self) -> None:
        """End every fault whose time is over, and begin those of a plan whose time has come, in the order of time."""
        while True:
            now = self.now
            over = min((on for on in self._on.values() if on.until <= now), key=lambda on: on.until, default=None)
            planned = self._planned[0] if self._planned and self._planned[0][0] <= now else None
            if over is not None and (planned is None or over.until <= planned[0]):
                self.mend(over)
            elif planned is not None:
                _, begin, event = self._planned.pop(0)
                wanted = Wanted(event.kind, event.place, event.stream, event.parameters, event.end is not None)
                self._apply(wanted, math.inf if event.end is None else begin + event.end)
            else:
                return

    @property
    def faults_on(self) -> tuple[FaultOn, ...]:
        """Faults that are on now, oldest first."""
        return tuple(self._on.values())

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass. Raises NotRun where the world would have to wait too long for real."""
        self._step("advance", seconds=seconds)
        self._advance(seconds)

    @property
    def elapsed(self) -> float:
        """Seconds since the story's first word; 0 before it."""
        return 0.0 if self._origin is None else self.now - self._origin

    def until(self, seconds: float) -> None:
        """Let time pass until ``seconds`` after the story's first word; faults that are due on the way are mended.

        At once when that is over. A plan with these steps keeps its times when it is told again,
        however long its calls take then.
        """
        seconds = round(seconds, 6)
        self._step("until", seconds=seconds)
        while True:
            self.mend_due()
            left = seconds - self.elapsed
            if left < TICK:
                return
            due = min((on.until for on in self._on.values()), default=math.inf) - self.now
            self._let_pass(min(left, max(TICK, due)))

    def perform(self, step: Mapping[str, Any]) -> None:
        """Run one step of a stored plan again. Raises UsageError for a step that is none."""
        words = dict(step)
        word = str(words.pop("do", ""))
        if word not in WORDS:
            message = f"a plan has no step {word!r}"
            raise UsageError(message)
        if word == "fresh_licence":
            words["features"] = tuple(words.get("features", ()))
        try:
            getattr(self, word)(**words)
        except TypeError as error:
            message = f"the plan's step {word!r} can't be read: {error}"
            raise UsageError(message) from error

    # What scenarios may ask -----------------------------------------------------------------

    @property
    def labels(self) -> tuple[str, ...]:
        """The licences of this story, oldest first."""
        return tuple(self._licences)

    def needs(self, *caps: Cap) -> None:
        """Raise NotRun unless the target can do all of these."""
        for cap in caps:
            if cap not in self.capabilities:
                message = f"needs {cap.value!r}: not declared"
                raise NotRun(message)

    def acknowledged(self, label: str) -> bool:
        """Whether an issue under this label was acknowledged."""
        return self._licences[label].grant is not None

    @property
    @abstractmethod
    def now(self) -> float:
        """Seconds since the world began: what operations are stamped with."""

    @abstractmethod
    def idle(self, client: str) -> bool:
        """Whether the client has no call under way: ``start`` would not wait."""

    # What a world provides ------------------------------------------------------------------

    @abstractmethod
    def _send(self, begun: Begun, licence: LicenceState | None, asked: Mapping[str, Any]) -> None:
        """Start the call on its client, which is idle; ``_finished`` is called at its end."""

    @abstractmethod
    def _wait(self, client: str) -> None:
        """Return when the client has no call under way."""

    @abstractmethod
    def _settle(self) -> None:
        """Return when no client has a call under way."""

    @abstractmethod
    def _cut(self, client: str, what: Cut) -> None:
        """Arm a cut for the client's next call."""

    def _before(self, wanted: Wanted) -> None:
        """Called right before something is broken."""

    @abstractmethod
    def _break(self, wanted: Wanted) -> Broken:
        """Break it, now. Raises NotRun, UsageError or HarnessError."""

    def _due(self, when: float) -> None:
        """See to it that ``mend_due`` is called then."""

    def _places(self) -> Places | None:
        """Where faults may be; None when only breaking something tells."""
        return None

    @abstractmethod
    def _advance(self, seconds: float) -> None:
        """Let time pass."""

    def _let_pass(self, seconds: float) -> None:
        """Let time pass that somebody asked for, however long."""
        self._advance(seconds)

    @abstractmethod
    def _signer(self) -> Sign | None:
        """The target's own key as a function, where the harness has it."""

    def _close(self) -> None:
        """Let go of what the story holds; called once, after everything settled."""

    # Shared ---------------------------------------------------------------------------------

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _step(self, word: str, **rest: Any) -> None:
        if self._origin is None:
            self._origin = self.now
        self.history.plan.append(
            {"do": word, **{name: value for name, value in rest.items() if value not in (None, "")}}
        )

    def _begin(self, client: str, verb: str, label: str, asked: Mapping[str, Any]) -> int | None:
        self._wait(client)
        licence = self._licences[label] if label else None
        if verb not in _WITHOUT_GRANT and (licence is None or licence.grant is None):
            return None
        shown, passed = dict(asked), dict(asked)
        match verb:
            case "issue" if licence is not None:
                spec = licence.spec
                given = {name: value for name in _SPECIFIED if (value := getattr(spec, name)) not in ("", None)}
                shown = {**given, **shown}
            case "activate" | "heartbeat" | "release":
                shown.setdefault("device", client)
            case "audit_log":
                passed["after"] = shown["after"] = self.audit_head
                passed["licences"] = frozenset(self._granted)
            case "validate_token" if licence is not None:
                if not licence.token:
                    return None
                if "attack" in asked:
                    if self._forge is None:
                        message = "no forge was given to this story, so it can't try attacks"
                        raise UsageError(message)
                    passed["token"] = self._forge(str(asked["attack"]), licence.token, self._signer(), licence.keys)
                    self._masker.register(passed["token"])
            case _:
                pass
        begun = Begun(
            n=self._number(),
            story=self.history.story,
            client=client,
            verb=verb,
            begin=self.now,
            licence=label,
            asked=shown,
        )
        self._send(begun, licence, passed)
        return begun.n

    def _finished(self, operation: Operation) -> None:
        """Keep and write an operation that ended. Called by the world, in the order of ends."""
        if operation.verb == "audit_log" and operation.accepted:
            self.audit_head = max(
                (int(entry["seq"]) for entry in operation.answer.get("entries", ())), default=self.audit_head
            )
        elif operation.verb == "issue" and operation.accepted:
            licence = self._licences.get(operation.licence)
            if licence is not None and licence.grant is not None:
                self._granted.add(licence.grant.id)
        self.history.operations.append(operation)
        self._writer.write(operation)

    def _faulted(self, fault: Fault) -> None:
        """Keep and write a fault that is over."""
        self.history.faults.append(fault)
        self._writer.write(fault)

    def close(self) -> None:
        """Settle, put the operations in the order in which they began, and close the story's record."""
        if self.closed:
            return
        self.closed = True
        try:
            self._settle()
        finally:
            self._forgo()
            self._let_go()
        self.history.operations.sort(key=lambda operation: operation.n)
        self.history.complete = True
        self._writer.write(ending(self.history))
        self._closed(self.history)

    def _forgo(self) -> None:
        """What was planned for later will not happen: the record says so, and nobody takes it for done."""
        for _, _, event in self._planned:
            self._faulted(
                Fault(
                    n=self._number(),
                    story=self.history.story,
                    fault=event.kind,
                    begin=self.now,
                    end=self.now,
                    where=event.place,
                    detail={"not_begun": "the story ended before its time"},
                )
            )
        self._planned.clear()

    def abandon(self) -> None:
        """Let go without closing the record: the run was interrupted in this story, and it says so by having no end."""
        if not self.closed:
            self.closed = True
            self._let_go()

    def _let_go(self) -> None:
        """Mend what is broken, even if some of it can't be; then the world's own."""
        with ExitStack() as stack:
            stack.callback(self._close)
            for on in self._lingering:
                stack.callback(self._end, on)
            self._lingering = []
            for on in self._on.copy().values():
                stack.callback(self.mend, on)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_mutation(verb: str) -> bool:
    """Whether a call of this verb changes the target's state."""
    return verb in MUTATIONS


def cut_kind(what: Cut) -> FaultKind:
    """The fault's name in the history."""
    return FaultKind.CUT_REQUEST if what == "request" else FaultKind.CUT_ANSWER


def _lingers(broken: Broken) -> bool:
    """Whether, done at one moment, it is met by whoever comes later: then it is recorded at the story's end."""
    return bool(getattr(broken, "lingers", False))


def _fault_kind(kind: FaultKind | str) -> FaultKind:
    try:
        return FaultKind(str(kind))
    except ValueError:
        message = f"{str(kind)!r} is no kind of fault; {way_out(str(kind), [each.value for each in FaultKind])}"
        raise UsageError(message) from None


def _taken(kind: FaultKind, stream: str, parameters: Mapping[str, float]) -> tuple[str, dict[str, float]]:
    """Stream and parameters as a plan would have them. Raises UsageError for what the kind does not take."""
    known = KINDS[kind.value]
    try:
        values = numbers(kind.value, parameters)
    except PlanError as error:
        message = f"fault: {error.text}"
        raise UsageError(message) from None
    if stream and not known.stream:
        message = f"fault: {kind.value} works in no one direction; leave out stream={stream!r}"
        raise UsageError(message)
    if stream and stream not in STREAMS:
        message = f"fault: stream {stream!r} is none; {way_out(stream, STREAMS)}"
        raise UsageError(message)
    return stream or (STREAMS[0] if known.stream else ""), values
