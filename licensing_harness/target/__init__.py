"""The target: the adapter that users write, and the recorder that is the only one to call it."""

from licensing_harness.target.adapter import Adapter, ControlAdapter, Target, check_adapter

__all__ = ["Adapter", "ControlAdapter", "Target", "check_adapter"]
