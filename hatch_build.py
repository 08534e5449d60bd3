"""Ships the scenarios inside the package: users of the wheel run them, developers edit them at top level."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ScenariosHook(BuildHookInterface[Any]):
    """Maps ``scenarios/`` to ``licensing_harness/scenarios`` in every wheel but an editable one."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the mapping; an editable install finds the scenarios by path."""
        if version != "editable":
            build_data["force_include"]["scenarios"] = "licensing_harness/scenarios"
