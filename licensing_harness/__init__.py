"""Chaos tests for software licensing: drive a target, record it, judge it, gate the release.

Names are loaded when first used: pytest imports this package in every run of
every user who has it installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from licensing_harness.errors import HarnessError, NotRun, PromiseBroken, Undecided
    from licensing_harness.target.adapter import Adapter, ControlAdapter, Target
    from licensing_harness.vocabulary import (
        Allowed,
        AuditEntry,
        AuditPage,
        Cap,
        Contract,
        Denied,
        Grant,
        Indeterminate,
        KeySet,
        LicenceSpec,
        Outcome,
        Reason,
    )

__version__: Final = "0.1.0"

_HOME: Final = {
    "Adapter": "target.adapter",
    "Allowed": "vocabulary",
    "AuditEntry": "vocabulary",
    "AuditPage": "vocabulary",
    "Cap": "vocabulary",
    "Contract": "vocabulary",
    "ControlAdapter": "target.adapter",
    "Denied": "vocabulary",
    "Grant": "vocabulary",
    "HarnessError": "errors",
    "Indeterminate": "vocabulary",
    "KeySet": "vocabulary",
    "LicenceSpec": "vocabulary",
    "NotRun": "errors",
    "Outcome": "vocabulary",
    "PromiseBroken": "errors",
    "Reason": "vocabulary",
    "Target": "target.adapter",
    "Undecided": "errors",
}

__all__ = [  # noqa: RUF022 - grouped by what they are for
    # What an adapter is made of
    "Adapter", "ControlAdapter", "Target", "Cap", "Contract", "LicenceSpec",
    # What it answers
    "Grant", "Allowed", "Denied", "Indeterminate", "Reason", "AuditEntry", "AuditPage", "KeySet",
    # What a scenario meets
    "Outcome", "HarnessError", "NotRun", "PromiseBroken", "Undecided",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"licensing_harness.{_HOME[name]}"), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
