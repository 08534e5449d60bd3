"""The bugs that can be planted in the reference server, by name."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from licensing_harness.config import Config
from licensing_harness.errors import UsageError
from licensing_harness.run import need_server_extra


def known_defects(names: Sequence[str] = ()) -> dict[str, str]:
    """These defects, or all there are, each with the promise that it breaks.

    Raises UsageError for a name that is none, and without the ``server`` extra.
    """
    need_server_extra()
    # By name: neither of the two packages imports the other.
    planted = importlib.import_module("reference_server.defects").DEFECTS
    known = {str(name): str(defect.promise) for name, defect in planted.items()}
    unknown = [name for name in names if name not in known]
    if unknown:
        message = f"no defect {', '.join(unknown)}; there are {', '.join(known)}"
        raise UsageError(message)
    return {name: known[name] for name in names or known}


def explored_defects() -> frozenset[str]:
    """Those that no scenario tries: something must go wrong at the right moment, and ``explore`` finds them."""
    planted = importlib.import_module("reference_server.defects").DEFECTS
    return frozenset(str(name) for name, defect in planted.items() if defect.explored)


def check_defect(config: Config) -> None:
    """Raise UsageError when these settings plant a bug that there is none of."""
    if config.defect and config.target is None:
        known_defects([config.defect])
