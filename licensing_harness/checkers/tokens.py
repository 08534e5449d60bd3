"""Promises about access tokens."""

from __future__ import annotations

from licensing_harness.verdict import Promise

PROMISES: tuple[Promise, ...] = ()
