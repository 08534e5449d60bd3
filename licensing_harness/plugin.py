"""The pytest plugin: options, marker, fixtures, and the hooks that wake the rest.

pytest loads this module in every run of every user who has the harness
installed, so it imports the standard library and pytest only. What does the
work is ``licensing_harness.session``, imported when a test of ours is
collected, or when a worker of pytest-xdist reports one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import pytest

from licensing_harness.options import OPTIONS

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from licensing_harness.clock import Clock
    from licensing_harness.config import Config
    from licensing_harness.history import StoryHistory
    from licensing_harness.run import LiveTarget
    from licensing_harness.session import Session
    from licensing_harness.suite import Campaign
    from licensing_harness.target.adapter import Adapter
    from licensing_harness.worlds.story import Story

_MARKER: Final = (
    "licensing(tries, needs): a licensing scenario; `tries` are ids of the promises it tries, "
    "`needs` the capabilities without which it is not run"
)
_INI: Final[dict[str, Any]] = {"text": "string", "number": "int", "switch": "bool", "list": "args"}
_WORLD: Final = "licensing_world_name"


def _use(config: pytest.Config) -> Session:
    from licensing_harness import session

    return session.use(config)


# Options -----------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register every option as a flag and as an ini key."""
    group = parser.getgroup("licensing", "licensing-harness: chaos tests for software licensing")
    for option in OPTIONS:
        if option.kind == "switch":
            group.addoption(option.flag, dest=option.ini, action="store_true", default=None, help=option.help)
        else:
            group.addoption(
                option.flag,
                dest=option.ini,
                action="append" if option.kind == "list" else "store",
                default=None,
                metavar=option.metavar,
                help=option.help + (f" (default: {option.default})" if option.default else ""),
            )
        parser.addini(option.ini, option.help, type=_INI[option.kind], default=None)
    group.addoption("--licensing-screen", action="store_true", default=False, help=argparse.SUPPRESS)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and listen for reports of ours."""
    config.addinivalue_line("markers", _MARKER)
    config.pluginmanager.register(_Listener(config), "licensing_listener")
    if config.getoption("--licensing-screen") and not hasattr(config, "workerinput"):
        from licensing_harness.screen import Screen

        config.pluginmanager.register(Screen(config), "licensing_screen")


class _Listener:
    """Hands reports of ours to the session; a controller of pytest-xdist learns of them in no other way."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if hasattr(report, "licensing"):
            _use(self._config).collect(report)


def pytest_report_header(config: pytest.Config) -> str | None:
    """One line, when an option of ours was given for this run."""
    if all(config.getoption(option.ini) is None for option in OPTIONS):
        return None
    return _use(config).header()


# Collection --------------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every scenario once in each world."""
    if _WORLD in metafunc.fixturenames:
        worlds = _use(metafunc.config).places()
        metafunc.parametrize(_WORLD, list(worlds), ids=list(worlds.values()), indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what ``--licensing-only`` leaves out."""
    if any(_is_ours(item) for item in items):
        session = _use(config)
        kept, left_out = session.select(items)
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = kept


def pytest_collection_finish(session: pytest.Session) -> None:
    """Check adapter and options once, before the first scenario."""
    if any(_is_ours(item) for item in session.items):
        _use(session.config).check()


def _is_ours(item: pytest.Item) -> bool:
    if item.get_closest_marker("licensing") is not None:
        return True
    return any(name.startswith("licensing_") for name in getattr(item, "fixturenames", ()))


# Workers of pytest-xdist -------------------------------------------------------------------------


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker which run it belongs to."""
    from licensing_harness import session

    node.workerinput["licensing"] = session.place_of(node.config).as_dict()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker had to say at its end."""
    last_words = getattr(node, "workeroutput", {}).get("licensing")
    if last_words is not None:
        _use(node.config).take_over(last_words)


# Fixtures ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def licensing_config(request: pytest.FixtureRequest) -> Config:
    """The settings of this run, each with its source."""
    return _use(request.config).config


@pytest.fixture(scope="session")
def licensing_target(request: pytest.FixtureRequest) -> LiveTarget:
    """The live target: ``.url``, ``.kind``, ``.openapi_url``, ``.secret(name)``."""
    return _use(request.config).run.live_target()


@pytest.fixture(scope="session")
def licensing_adapter(request: pytest.FixtureRequest) -> Iterator[Adapter]:
    """Your adapter, opened on the live target. Its calls are not in any history."""
    with _use(request.config).run.opened_adapter() as adapter:
        yield adapter


@pytest.fixture(scope="session")
def licensing_faults(request: pytest.FixtureRequest) -> Any:
    """What sets network faults: ``--licensing-faults``."""
    return _use(request.config).run.faults()


@pytest.fixture(scope="session")
def licensing_clock() -> Clock:
    """The machine's clock, as the harness reads it."""
    from licensing_harness.clock import RealClock

    return RealClock()


@pytest.fixture
def licensing_world_name(request: pytest.FixtureRequest) -> str:
    """``simulated`` or ``live``; with ``--licensing-seeds`` also the seed's number."""
    return str(request.param)


@pytest.fixture
def licensing_world(request: pytest.FixtureRequest, licensing_world_name: str) -> Iterator[Campaign]:
    """The world this test runs in: makes stories, and judges them after the test's body."""
    session = _use(request.config)
    campaign = session.campaign(request.node, licensing_world_name)
    yield campaign
    campaign.close()


@pytest.fixture
def licensing_story(licensing_world: Campaign) -> Story:
    """A fresh story in this test's world, closed and judged after the test's body."""
    return licensing_world.story()


@pytest.fixture
def licensing_history(licensing_world: Campaign) -> Sequence[StoryHistory]:
    """The histories of this test's stories, newest last; they grow while the test runs."""
    return licensing_world.histories


@pytest.fixture
def licensing_licence_factory(licensing_world: Campaign, licensing_story: Story) -> Callable[..., str]:
    """Makes licences in the test's story, and revokes them at its end where the target can."""
    return licensing_world.licence_factory(licensing_story)


@pytest.fixture
def licensing_outage(licensing_story: Story) -> Callable[..., AbstractContextManager[Any]]:
    """Breaks the live target's wire for the length of a ``with``, recorded in the test's story."""
    from functools import partial

    from licensing_harness.faults.outage import outage

    return partial(outage, licensing_story)
