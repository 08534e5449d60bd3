"""Named bugs: each replaces one part of a sound server, to prove that a promise's checker finds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from reference_server.defects.seats import seats_race
from reference_server.errors import StartError

if TYPE_CHECKING:
    from reference_server.composition import Parts


@dataclass(frozen=True, slots=True)
class Defect:
    """A bug that can be switched on by name.

    ``promise`` is the id of the promise that it breaks, ``sentence`` says what is
    wrong, ``plant`` returns the parts with the bug in them.
    """

    name: str
    promise: str
    sentence: str
    plant: Callable[[Parts], Parts]


DEFECTS: Final[Mapping[str, Defect]] = MappingProxyType(
    {
        defect.name: defect
        for defect in (
            Defect(
                "seats-race",
                "SEA-001",
                "An activation looks for a free seat, waits, and takes the seat without looking again.",
                seats_race,
            ),
        )
    }
)


def find(name: str) -> Defect:
    """The defect called ``name``. Raises StartError with the names that there are."""
    try:
        return DEFECTS[name]
    except KeyError:
        message = f"there is no defect {name!r}: there are {', '.join(sorted(DEFECTS))}"
        raise StartError(message) from None
