"""``result.json`` written and read back."""

from __future__ import annotations

from pathlib import Path

import msgspec

from licensing_harness.errors import UsageError
from licensing_harness.verdict import RESULT_SCHEMA, RunResult


class _Version(msgspec.Struct):
    schema: int


def encode_result(result: RunResult) -> str:
    """The result as the text of ``result.json``."""
    return msgspec.json.format(msgspec.json.encode(result), indent=2).decode() + "\n"


def read_result(path: Path) -> RunResult:
    """Read a ``result.json`` back.

    Raises UsageError when it is missing, no result, or of a later version.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: can't be read ({error.strerror}). Give a run directory's result.json.") from error
    try:
        schema = msgspec.json.decode(content, type=_Version).schema
        if schema > RESULT_SCHEMA:
            raise UsageError(
                f"{path}: a result in schema {schema}; this version reads up to {RESULT_SCHEMA}. "
                "Upgrade licensing-harness to read it."
            )
        return msgspec.json.decode(content, type=RunResult)
    except msgspec.DecodeError as error:
        raise UsageError(f"{path}: not a result: {error}. Give a run directory's result.json.") from error
