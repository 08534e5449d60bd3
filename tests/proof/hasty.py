"""An adapter with the commonest mistake: a call without an answer is passed on as refused."""

from __future__ import annotations

from typing import Any

from licensing_harness.target.reference import ReferenceAdapter
from licensing_harness.vocabulary import Denied


class Hasty(ReferenceAdapter):
    """The reference server's adapter, which takes silence for a no."""

    async def _call(self, *arguments: Any, **more: Any) -> Any:
        try:
            return await super()._call(*arguments, **more)
        except Exception:  # noqa: BLE001 - the mistake
            return Denied("no-answer")
