"""What the drawings of the report have in common: where names have room, and round times below them."""

from __future__ import annotations

import math

from licensing_harness.history import Fault


def free_line(filled: list[float], left: float, right: float) -> int:
    """The first line with room from ``left`` on, taken up to ``right``."""
    for line, until in enumerate(filled):
        if until <= left:
            filled[line] = right
            return line
    filled.append(right)
    return len(filled) - 1


def round_step(seconds: float) -> tuple[float, int]:
    """A round time of which ``seconds`` have about eight, and the digits that it needs."""
    rough = seconds / 8
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough)
    return step, max(0, -math.floor(math.log10(step)))


def fault_tip(name: str, fault: Fault) -> str:
    """All about a fault, in a line."""
    until = f"until {fault.end:.3f} s" if fault.end is not None else "not removed"
    return f"fault {name}: from {fault.begin:.3f} s, {until}, met {fault.met}"
