"""Target strings of the simulated world: what is off is said in one line, with the way out."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from toy import TOY, plain_app, world

from licensing_harness import NotRun
from licensing_harness.errors import UsageError
from licensing_harness.worlds.factory import SimulatedTarget

assert callable(plain_app)


def test_a_target_has_options() -> None:
    """The query becomes keyword arguments; the text reads back."""
    target = SimulatedTarget.parse(TOY + "?race=1&early=")

    assert (target.module, target.factory) == ("toy", "simulated")
    assert dict(target.options) == {"race": "1", "early": ""}
    assert str(target) == TOY + "?race=1&early="


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http://localhost", "no simulated target; give asgi:module:factory"),
        ("asgi:toy", "names no factory; give asgi:module:factory"),
        ("asgi::simulated", "names no factory"),
        ("asgi:toy:not there", "names no factory"),
        (TOY + "?race", "the options can't be read"),
        ("asgi:no_such_module.app:make", "there is no module 'no_such_module'; install it"),
        ("asgi:toy:nothing", "the module toy has no factory 'nothing'"),
        ("asgi:toy:DDL", "has no factory 'DDL'"),
    ],
)
def test_what_is_off_is_said_at_once(text: str, message: str) -> None:
    """UsageError when the world is made."""
    with pytest.raises(UsageError, match=message):
        world(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TOY + "?nonsense=1", "the factory refused its options: no option 'nonsense'"),
        ("asgi:toy:wrong_arguments", r"can't be called as wrong_arguments\(clock, entropy, keys, store\)"),
        ("asgi:toy:makes_nothing?x=1", r"can't be called as makes_nothing\(clock, entropy, keys, store, x=...\)"),
        ("asgi:toy:makes_nothing", "made NoneType, which is no ASGI application"),
    ],
)
def test_a_factory_that_does_not_fit_is_a_usage_error(text: str, message: str) -> None:
    """UsageError when a story is opened."""
    with pytest.raises(UsageError, match=message):
        world(text).story(scenario="s")


def test_a_plain_application_can_not_be_simulated() -> None:
    """NotRun says why, and what to do."""
    with pytest.raises(NotRun, match="brings its own clock and store"):
        world("asgi:toy:plain_app").story(scenario="s")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pip line is in the message."""
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "starlette":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(__import__("sys").modules, "toy")
    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(UsageError, match=r"python -m pip install 'licensing-harness\[server\]'"):
        SimulatedTarget.parse(TOY)
