"""Every type of toxic: its stage, its attributes, and what its attributes may not be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from licensing_harness.faults.call_faults import CALL_ATTRIBUTES, call_refusal
from licensing_harness.faults.shaping import Bandwidth, LimitData, Slicer, SlowClose
from licensing_harness.faults.toxics import Latency, Noop, ResetPeer, Stage, Timeout

STAGES: Final[dict[str, type[Stage]]] = {
    "bandwidth": Bandwidth,
    "latency": Latency,
    "limit_data": LimitData,
    "noop": Noop,
    "reset_peer": ResetPeer,
    "slicer": Slicer,
    "slow_close": SlowClose,
    "timeout": Timeout,
}
"""The types of toxics that the embedded proxy has: all of Toxiproxy's."""

ATTRIBUTES: Final[dict[str, tuple[str, ...]]] = {
    "bandwidth": ("rate",),
    "latency": ("latency", "jitter"),
    "limit_data": ("bytes",),
    "noop": (),
    "reset_peer": ("timeout",),
    "slicer": ("average_size", "size_variation", "delay"),
    "slow_close": ("delay",),
    "timeout": ("timeout",),
    **CALL_ATTRIBUTES,
}
"""The attributes of every type, the extensions' among them."""


def refusal(kind: str, attributes: Mapping[str, int]) -> str | None:
    """Why a toxic can't have these attributes: Toxiproxy would crash, or it is ours; None when it can."""
    if kind in CALL_ATTRIBUTES:
        return call_refusal(kind, attributes)
    if kind == "bandwidth" and attributes["rate"] < 0:
        return f"invalid attribute: rate is {attributes['rate']}; give 0 or more"
    if kind == "slicer":
        average, variation = attributes["average_size"], attributes["size_variation"]
        if average < 1:
            return f"invalid attribute: average_size is {average}; give 1 or more"
        if not 0 <= variation <= average:
            return f"invalid attribute: size_variation is {variation}; give 0 up to average_size, {average}"
    return None
