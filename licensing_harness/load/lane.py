"""One client under load: an adapter object of its own, and every call recorded.

A lane's calls never overlap. Each call is written to the history before it is
sent and again when it ended, so that a run that is killed still knows what may
have taken effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import msgspec

from licensing_harness.clock import Clock
from licensing_harness.errors import HarnessError
from licensing_harness.history import Begun, HistoryWriter, Operation, StoryEnded, StoryOpened
from licensing_harness.load.blocking import BlockingHttp, finish
from licensing_harness.load.measures import Samples
from licensing_harness.masking import Masker
from licensing_harness.target.adapter import Adapter, Target
from licensing_harness.target.guard import Endpoint
from licensing_harness.target.recorder import LicenceState, completed, failed, invoke
from licensing_harness.vocabulary import Outcome
from licensing_harness.worlds.story import VENDOR

_SETTLE: Final = {"do": "settle"}

Measured = Callable[[Operation, float], None]
"""Called with each operation that ended and how long it took, in milliseconds."""


@dataclass(kw_only=True, slots=True)
class Bench:
    """What all lanes of a load run share."""

    adapter: type[Adapter]
    endpoint: Endpoint
    tag: str
    prefix: str
    scenario: str
    tries: tuple[str, ...]
    secrets: Mapping[str, str]
    clock: Clock
    writer: HistoryWriter
    timeout: float
    most_requests: int
    measured: Measured = lambda operation, milliseconds: None  # noqa: ARG005 - a hook that nobody took
    samples: dict[str, Samples] = field(default_factory=dict)
    requests: int = 0
    stories: int = 0
    left: list[str] = field(default_factory=list)
    """Ids of licences that could not be revoked at the end of their story."""
    stopping: bool = False
    failure: HarnessError | None = None

    @property
    def over(self) -> bool:
        """Whether no further call may be sent."""
        return self.stopping or self.requests >= self.most_requests

    def fail(self, error: HarnessError) -> None:
        """Stop the run: it can't be trusted. The first reason is kept."""
        self.failure = self.failure or error
        self.stopping = True

    def count(self, operation: Operation, seconds: float) -> None:
        """Add one operation to the samples."""
        self.samples.setdefault(operation.verb, Samples()).add(operation.outcome, seconds * 1000)
        self.measured(operation, seconds * 1000)


class LoadStory:
    """One customer's licence from issue to farewell: a story of the history, with the plan that tells it again.

    It has a masker of its own: a run makes thousands of keys, and a line of one
    story can only hold that story's.
    """

    LABEL: Final = "L1"

    def __init__(self, bench: Bench, licence: LicenceState, seed: str) -> None:
        bench.stories += 1
        self.bench = bench
        self.id = f"{bench.prefix}{bench.stories}"
        self.licence = licence
        self.seed = seed
        self.masker = Masker()
        for secret in bench.secrets.values():
            self.masker.register(secret)
        self._numbers = 0
        self._plan: list[dict[str, Any]] = []
        self._open = True
        bench.writer.write(
            StoryOpened(story=self.id, world="live", scenario=bench.scenario, tries=bench.tries, seed=seed)
        )

    def begin(self, client: str, verb: str, asked: dict[str, Any]) -> Begun:
        """Number a call and write it down; it is sent next."""
        if verb == "issue":
            asked = {name: value for name, value in asdict(self.licence.spec).items() if value not in ("", None)}
            self._plan.append(self._issued())
        else:
            self._plan.append({"do": "start", "client": client, "verb": verb, "licence": self.LABEL, **asked})
        self._numbers += 1
        begun = Begun(
            n=self._numbers,
            story=self.id,
            client=client,
            verb=verb,
            begin=self.bench.clock.now(),
            licence=self.LABEL,
            asked=asked,
        )
        self.bench.writer.write(begun)
        self.bench.writer.flush()
        return begun

    def settled(self) -> None:
        """Every lane is idle: a replay waits for that too."""
        if self._plan and self._plan[-1] != _SETTLE:
            self._plan.append(_SETTLE)

    def _issued(self) -> dict[str, Any]:
        """The step for an issue: a new licence first, a retry of it afterwards."""
        spec = self.licence.spec
        if self._plan:
            return {"do": "call", "client": VENDOR, "verb": "issue", "licence": self.LABEL}
        words = {"seats": spec.seats, "features": list(spec.features), "duration": spec.duration, "plan": spec.plan}
        return {"do": "fresh_licence", **{name: value for name, value in words.items() if value is not None}}

    def ended(self, operation: Operation) -> None:
        """Write down how a call ended."""
        if operation.reason:
            operation = msgspec.structs.replace(operation, reason=self.masker.mask(operation.reason))
        self.bench.writer.write(operation)

    def close(self) -> None:
        """No more calls; harmless when repeated."""
        if self._open:
            self._open = False
            self.bench.writer.write(StoryEnded(story=self.id, plan=self._plan))


class Lane:
    """A client: opens its adapter at once and keeps it for every story it takes part in."""

    def __init__(self, bench: Bench, client: str) -> None:
        self.client = client
        self.bench = bench
        self._http = BlockingHttp(bench.endpoint, bench.timeout)
        self._adapter = bench.adapter()
        self._adapter.open(
            Target(
                url=bench.endpoint.url,
                timeout=bench.timeout,
                http=self._http,
                client=client,
                tag=bench.tag,
                secrets=bench.secrets,
            )
        )

    def call(self, story: LoadStory, verb: str, *, cleaning: bool = False, **asked: Any) -> Operation | None:
        """Send a call and wait for its outcome; None when the run is over and nothing was sent.

        With ``cleaning`` it is sent even then. Raises HarnessError when the adapter failed.
        """
        if self.bench.over and not cleaning:
            return None
        self.bench.requests += 1
        begun = story.begin(self.client, verb, asked)
        now = self.bench.clock.now
        try:
            answer = finish(invoke(self._adapter, verb, story.licence, self.client, asked))
            end = now()
            operation = completed(begun, end, answer, story.licence, story.masker)
        except HarnessError:
            raise
        except Exception as error:  # noqa: BLE001 - the recorder decides whose fault it is
            end = now()
            operation = failed(begun, end, error)
        except BaseException as error:  # the run ended under this call: what became of it is not known
            story.ended(
                Operation(
                    n=begun.n,
                    story=begun.story,
                    client=begun.client,
                    verb=begun.verb,
                    begin=begun.begin,
                    outcome=Outcome.UNKNOWN,
                    licence=begun.licence,
                    reason=f"the run ended before an answer came ({type(error).__name__})",
                    asked=begun.asked,
                )
            )
            raise
        story.ended(operation)
        self.bench.count(operation, end - begun.begin)
        return operation

    def close(self) -> None:
        """Let go of the adapter's connections and of our own."""
        try:
            closing = self._adapter.close()
            if closing is not None:
                finish(closing)  # type: ignore[arg-type] # close() answers None, whatever Reply says
        finally:
            self._http.close()
