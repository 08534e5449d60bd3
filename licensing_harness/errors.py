"""Two error trees, by blame: the run can't be trusted, or the target is wrong.

::

    Exception
    ├── HarnessError            the run can't be trusted           exit 3
    │   ├── UsageError          an option, adapter or file is off  exit 4
    │   ├── TargetNotReady      the target does not answer         exit 12
    │   ├── GuardRefused        a safety guard said no             exit 13
    │   └── CleanUpIncomplete   something of ours was left behind  exit 14
    ├── NotRun                  this can't be tried here, and why
    ├── AssertionError
    │   └── PromiseBroken       the target broke a promise         exit 1
    └── Undecided               nothing was proved                 exit 10

A test that dies of the first tree is an error of the run; one that dies of
``PromiseBroken`` is a finding. ``Undecided`` is never green.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar


class HarnessError(Exception):
    """The run can't be trusted; nothing is said about the target."""

    exit_code: ClassVar[int] = 3


class UsageError(HarnessError):
    """An option, an adapter, a plan or a history is not usable as given."""

    exit_code = 4


class TargetNotReady(HarnessError):
    """The target did not answer before the run began."""

    exit_code = 12


class GuardRefused(HarnessError):
    """A safety guard (host, request cap) refused to go on."""

    exit_code = 13


class CleanUpIncomplete(HarnessError):
    """A fault, a process or a licence of this run could not be removed."""

    exit_code = 14


class NotRun(Exception):
    """A scenario can't be tried on this target in this world; the text says why."""


class Undecided(Exception):
    """The scenario ran, but its positive control never happened: nothing was proved."""


class PromiseBroken(AssertionError):
    """The target broke a promise; the text quotes it and gives the evidence."""


# The summary line of pytest prints the class with its module; only the promise matters there.
PromiseBroken.__module__ = "builtins"
Undecided.__module__ = "builtins"
NotRun.__module__ = "builtins"


def closest(name: str, known: Collection[str]) -> str:
    """The known name that ``name`` was probably meant to be; empty when none is near."""
    import difflib  # every run of pytest loads this module, and hardly any needs this

    return next(iter(difflib.get_close_matches(name, known, n=1)), "")


def way_out(name: str, known: Collection[str]) -> str:
    """What to say after a name that is not known: the nearest one, or all of them."""
    near = closest(name, known)
    return f"did you mean {near!r}?" if near else f"known: {', '.join(known)}"
