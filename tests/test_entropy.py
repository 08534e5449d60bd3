"""Chance as an argument: keyed, repeatable, and even."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from licensing_harness.entropy import Draws, draws

FACES = tuple(range(6))


def test_the_same_key_gives_the_same_draws() -> None:
    """Also in another process, that hashes text differently; other keys give others."""
    several = [draws(7, "laptop", "validate", n) for n in range(50)]
    told = [[each.choice(FACES) for _ in range(40)] for each in several]
    again = [[each.below(6) for _ in range(40)] for each in (draws(7, "laptop", "validate", n) for n in range(50))]
    assert told == again
    assert len({tuple(each) for each in told}) == len(told)
    code = (
        "from licensing_harness.entropy import draws\n"
        "first = draws(7, 'laptop', 'validate', 0)\n"
        "print([first.below(6) for _ in range(40)])"
    )
    for seed in ("0", "1"):
        said = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        )
        assert said.stdout.strip() == str(told[0])


@pytest.mark.parametrize("place", [0, 1, 15, 16, 40])
def test_draws_are_even(place: int) -> None:
    """Each face as often as chance lets it, at every place of a stream, over 6,000 streams: chi-square, p > 0.0001."""
    faces: Counter[int] = Counter()
    for n in range(6000):
        stream = draws("even", n)
        for _ in range(place):
            stream.below(6)
        faces[stream.below(6)] += 1
    assert sum((faces[face] - 1000) ** 2 / 1000 for face in FACES) < 25.7


def test_draws_do_not_follow_each_other() -> None:
    """Neighbours in a stream, and the ends of two blocks, are pairs like any others."""
    stream = Draws(b"pairs")
    drawn = [stream.below(6) for _ in range(36_001)]
    for apart in (1, 16):
        pairs = Counter(zip(drawn, drawn[apart:], strict=False))
        expected = sum(pairs.values()) / 36
        assert sum((pairs[one, two] - expected) ** 2 / expected for one in FACES for two in FACES) < 82.0
