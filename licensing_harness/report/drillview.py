"""A drill while it runs: lanes of recent calls on a terminal, plain lines everywhere else."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from licensing_harness.clock import Clock
from licensing_harness.history import Operation
from licensing_harness.report.text import many
from licensing_harness.worlds.story import Story

LANES: Final = 12
"""Clients that have a lane of their own; of more, the others share the last one."""

_MARKS: Final = {"accepted": ("|", "green"), "refused": ("x", "yellow"), "unknown": ("?", "bold red")}
"""Told by shape as well as by colour."""

_NAME: Final = 11
_BAR: Final = 14
_SHOWN: Final = 0.125
"""Seconds between two pictures."""
_SAID: Final = 5.0
"""Seconds between two lines where there is no terminal, but for a new phase."""


class DrillView(AbstractContextManager["DrillView"]):
    """Shows a drill; ``watch`` is called as often as one likes. Use it as a context manager."""

    def __init__(self, console: Console, clock: Clock, *, seconds: float, clients: Sequence[str]) -> None:
        self._console = console
        self._clock = clock
        self._seconds = seconds
        self._clients = tuple(clients)
        self._marks: dict[str, deque[str]] = {}
        self._seen = 0
        self._counts = dict.fromkeys(_MARKS, 0)
        self._rates: deque[tuple[float, int]] = deque()
        self._shown = -_SAID
        self._phase = ""
        self._live: Live | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
            self._live = self._stack.enter_context(live)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def watch(self, phase: str, story: Story) -> None:
        """Look at the story; what there is to see is shown when it is time."""
        now = self._clock.now()
        fresh = phase.partition(":")[0] != self._phase
        if now - self._shown < (_SHOWN if self._live else _SAID) and not (fresh and self._live is None):
            return
        self._shown, self._phase = now, phase.partition(":")[0]
        self._look(story.history.operations)
        if self._live is not None:
            self._live.update(self.picture(phase, story), refresh=True)
        else:
            self._console.print(
                f"  {story.elapsed:5.1f} s  {phase}   {many(self._seen, 'call')}, "
                f"{self._counts['unknown']:,} without an answer",
                soft_wrap=True,
            )

    def _look(self, operations: Sequence[Operation]) -> None:
        new, self._seen = operations[self._seen :], len(operations)
        for each in new:
            outcome = each.outcome.value
            self._counts[outcome] += 1
            self._marks.setdefault(each.client, deque(maxlen=400)).append(outcome)

    def picture(self, phase: str, story: Story) -> RenderableType:
        """What a terminal shows now."""
        told = story.elapsed
        self._rates.append((told, self._seen))
        while self._rates and told - self._rates[0][0] > 1:
            self._rates.popleft()
        (since, before), over = self._rates[0], max(told - self._rates[0][0], 1e-3)
        rate = (self._seen - before) / over if told > since else 0.0
        share = min(told / self._seconds, 1.0) if self._seconds else 1.0
        head = Text(f"{told:6.1f} of {self._seconds:g} s  ")
        head.append("#" * round(share * _BAR), "bold").append("-" * (_BAR - round(share * _BAR)), "dim")
        head.append(f"  {phase.partition(':')[0]}", "bold")
        head.append(f"   {rate:.0f} calls/s   {many(self._seen, 'call')}, ")
        head.append(f"{self._counts['unknown']:,} unanswered", "bold red" if self._counts["unknown"] else "")
        lines = [head, *(self._fault(story, index) for index in range(len(story.faults_on))), *self._lanes()]
        return Group(*lines)

    def _fault(self, story: Story, index: int) -> Text:
        on = story.faults_on[index]
        left = on.until - story.now
        end = f"{max(left, 0.0):.1f} s left" if left < self._seconds * 10 else "until it is mended"
        line = Text("fault ", "dim")
        line.append(f"{on.wanted.kind} {on.wanted.stream}".strip(), "bold magenta")
        return line.append(f"  {end}")

    def _lanes(self) -> list[Text]:
        width = max(20, self._console.width - _NAME - 2)
        known = [*self._clients, *(each for each in self._marks if each not in self._clients)]
        own = known if len(known) <= LANES else known[: LANES - 1]
        lines = []
        for client in own:
            line = Text(f"{client[:_NAME]:<{_NAME}} ")
            for outcome in list(self._marks.get(client, ()))[-width:]:
                line.append(*_MARKS[outcome])
            lines.append(line)
        rest = [each for each in known if each not in own]
        if rest:
            counts = dict.fromkeys(_MARKS, 0)
            for client in rest:
                marks = self._marks.get(client)
                if marks:
                    counts[marks[-1]] += 1
            line = Text(f"{many(len(rest), 'client')} more: last call ")
            line.append(f"{counts['accepted']} accepted", "green").append(", ")
            line.append(f"{counts['refused']} refused", "yellow").append(", ")
            lines.append(line.append(f"{counts['unknown']} without an answer", "bold red"))
        return lines
