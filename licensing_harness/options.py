"""Every option, once: the plugin, the command line, the configuration and ``doctor`` read this table.

An option ``allow-host`` is ``--licensing-allow-host`` for pytest,
``--allow-host`` for ``licensing-harness gate``, the ini key
``licensing_allow_host`` in ``[tool.pytest]``, ``LICENSING_ALLOW_HOST`` in the
environment and ``allow-host`` in ``licensing-harness.toml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["text", "number", "switch", "list"]

SECRET_PREFIX: Final = "LICENSING_SECRET_"  # noqa: S105 - a variable's name, not a secret
"""Environment variables with this prefix are secrets for the adapter, no options."""

CONFIG_FILE: Final = "licensing-harness.toml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One setting of a run and all the names it goes by."""

    name: str
    kind: Kind
    help: str
    default: Any = None
    metavar: str = ""
    choices: tuple[str, ...] = ()
    least: int = 0
    """The smallest number taken."""

    @property
    def key(self) -> str:
        """As a Python name: ``allow_host``."""
        return self.name.replace("-", "_")

    @property
    def ini(self) -> str:
        """The ini key, and pytest's name for the command line value."""
        return f"licensing_{self.key}"

    @property
    def flag(self) -> str:
        """The flag that pytest takes."""
        return f"--licensing-{self.name}"

    @property
    def env(self) -> str:
        """The environment variable."""
        return f"LICENSING_{self.key.upper()}"


OPTIONS: Final = (
    Option(
        name="target",
        kind="text",
        metavar="URL|asgi:MODULE:FACTORY",
        help="the licensing system to judge; the reference server when not given",
    ),
    Option(name="adapter", kind="text", metavar="MODULE:CLASS", help="your adapter; needed with a target"),
    Option(
        name="control",
        kind="text",
        metavar="MODULE:CLASS",
        help="a ControlAdapter that may restart a target which the harness did not start",
    ),
    Option(
        name="world",
        kind="text",
        default="both",
        choices=("live", "simulated", "both"),
        metavar="WORLD",
        help="where scenarios run: live (HTTP, processes), simulated (in-process, virtual time) or both",
    ),
    Option(
        name="depth",
        kind="text",
        default="ci",
        choices=("smoke", "ci", "nightly"),
        metavar="DEPTH",
        help="how much is tried: smoke (10 s), ci (60 s) or nightly",
    ),
    Option(
        name="only",
        kind="list",
        default=(),
        metavar="FAMILY,...",
        help="only these families (seats), promise families (SEA) or promises (SEA-001)",
    ),
    Option(name="seed", kind="number", metavar="N", help="repeat a run's choices; a new seed when not given"),
    Option(
        name="seeds",
        kind="number",
        default=1,
        least=1,
        metavar="N",
        help="run every simulated scenario under N seeds, counted up from the seed",
    ),
    Option(
        name="faults",
        kind="text",
        default="embedded",
        metavar="off|embedded|toxiproxy|http://HOST:8474",
        help="what sets network faults in outage scenarios",
    ),
    Option(
        name="store",
        kind="text",
        metavar="postgresql://USER@HOST/DATABASE",
        help="a PostgreSQL to break: the reference server gets a database of its own there, any other target is said "
        "to use this one",
    ),
    Option(
        name="allow-host",
        kind="list",
        default=(),
        metavar="GLOB,...",
        help="hosts other than loopback that may be driven, such as staging.example.com",
    ),
    Option(
        name="max-requests",
        kind="number",
        default=1_000_000,
        least=1,
        metavar="N",
        help="stop, exit 13, before more requests than this are sent",
    ),
    Option(
        name="report",
        kind="text",
        default=".licensing",
        metavar="DIR",
        help="where run directories are written: DIR/runs/<id>, and DIR/runs/latest",
    ),
    Option(
        name="require",
        kind="list",
        default=(),
        metavar="CAP,...",
        help="capabilities whose scenarios must run: not run is then undecided, exit 10",
    ),
    Option(name="keep", kind="switch", default=False, help="leave a server that the harness started running"),
    Option(name="defect", kind="text", metavar="NAME", help="plant a bug in the reference server, to see it found"),
)

BY_NAME: Final[Mapping[str, Option]] = {option.name: option for option in OPTIONS}
