"""The only thing that calls an adapter: it turns every call into an operation.

An answer is accepted or refused. No answer, a transport error, an HTTP error
status or an answer that can't be read is *unknown*: the call may have taken
effect. Any other exception is a bug of the adapter, not of the target.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from licensing_harness.errors import HarnessError
from licensing_harness.history import Begun, Operation
from licensing_harness.masking import Masker, fingerprint
from licensing_harness.target.adapter import Adapter, Reply
from licensing_harness.vocabulary import (
    Allowed,
    Answer,
    AuditPage,
    Denied,
    Grant,
    Indeterminate,
    KeySet,
    LicenceSpec,
    Outcome,
)

_NO_ANSWER: Final = frozenset(
    {
        "httpx2.HTTPError",
        "httpx2.InvalidURL",
        "httpx2.StreamError",
        "httpx.HTTPError",
        "requests.exceptions.RequestException",
        "urllib3.exceptions.HTTPError",
        "aiohttp.client_exceptions.ClientError",
        "http.client.HTTPException",
    }
)
"""Base classes of "no usable answer" in common clients, by name: none of them is imported here."""

PRIVATE_JWK_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""RFC 7518, 6.2.2, 6.3.2 and 6.4.1, and RFC 8037, 2."""


class LicenceState:
    """What a story knows of one licence: its spec, and what the target answered so far."""

    __slots__ = ("grants", "keys", "label", "spec", "token")

    def __init__(self, label: str, spec: LicenceSpec) -> None:
        self.label = label
        self.spec = spec
        self.grants: list[Grant] = []
        self.token = ""
        self.keys: Sequence[Mapping[str, Any]] = ()

    @property
    def grant(self) -> Grant | None:
        """The first licence that the target acknowledged under this label."""
        return self.grants[0] if self.grants else None


def invoke(adapter: Adapter, verb: str, licence: LicenceState | None, client: str, asked: Mapping[str, Any]) -> Reply:
    """Call the adapter's method for ``verb``; a coroutine is returned as it is.

    ``asked["device"]`` defaults to the client's own name; ``asked["token"]`` to
    the licence's latest token. Raises KeyError when the verb needs a licence
    that was never acknowledged: callers leave such a call out.
    """
    match verb, licence:
        case "issue", LicenceState():
            return adapter.issue(licence.spec)
        case "jwks", _:
            return adapter.jwks()
        case "audit_log", _:
            return adapter.audit_log(int(asked.get("after", 0)), frozenset(asked.get("licences", ())))
        case _, LicenceState(grant=Grant() as grant):
            device = str(asked.get("device") or client)
            match verb:
                case "validate":
                    return adapter.validate(grant.key, device)
                case "renew":
                    return adapter.renew(grant, float(asked["duration"]))
                case "suspend" | "reinstate" | "revoke":
                    method = getattr(adapter, verb)
                    return method(grant)  # type: ignore[no-any-return]
                case "activate" | "heartbeat" | "release":
                    method = getattr(adapter, verb)
                    return method(grant.key, device)  # type: ignore[no-any-return]
                case "issue_token":
                    return adapter.issue_token(grant.key)
                case "validate_token":
                    return adapter.validate_token(str(asked.get("token") or licence.token))
    raise KeyError(verb)


def no_answer(error: BaseException) -> str | None:
    """Why ``error`` means "outcome unknown", or None when it is the adapter's bug."""
    if isinstance(error, Indeterminate):
        return _describe(error.args[0]) if error.args else "indeterminate"
    if isinstance(error, OSError | EOFError | json.JSONDecodeError | msgspec.DecodeError | UnicodeDecodeError):
        return f"{type(error).__name__}: {error}"[:200]
    names = {f"{base.__module__}.{base.__qualname__}" for base in type(error).__mro__}
    return f"{type(error).__name__}: {error}"[:200] if names & _NO_ANSWER else None


def _describe(cause: Any) -> str:
    status = getattr(cause, "status_code", None)
    return f"HTTP {status}" if status is not None else str(cause)[:200]


def completed(
    begun: Begun, end: float, answer: Answer | None, licence: LicenceState | None, masker: Masker
) -> Operation:
    """The operation for an answer. Keys and tokens are registered with the masker and never recorded.

    Raises HarnessError when the adapter answered with something that is no answer.
    """
    outcome, reason, stated = Outcome.ACCEPTED, "", {}
    match answer:
        case Indeterminate():
            outcome, reason = Outcome.UNKNOWN, no_answer(answer) or ""
        case Denied():
            outcome, reason = Outcome.REFUSED, str(answer.reason)
            stated = _stated(server_time=answer.server_time)
        case Grant():
            masker.register(answer.key)
            if licence is not None:
                licence.grants.append(answer)
            stated = _stated(
                id=answer.id,
                features=sorted(answer.features),
                expires=answer.expires,
                server_time=answer.server_time,
            )
        case Allowed():
            stated = _stated(
                features=sorted(answer.features),
                expires=answer.expires,
                lease_until=answer.lease_until,
                server_time=answer.server_time,
            )
            if answer.token is not None:
                masker.register(answer.token)
                stated["token"] = fingerprint(answer.token)
                if licence is not None:
                    licence.token = answer.token
        case AuditPage():
            stated = {
                "entries": [
                    _stated(
                        seq=entry.seq,
                        actor=entry.actor,
                        action=entry.action,
                        licence=entry.licence,
                        event=dict(entry.event),
                        previous=entry.previous,
                        hash=entry.hash,
                    )
                    for entry in answer.entries
                ]
            }
        case KeySet():
            if licence is not None:
                licence.keys = answer.keys
            stated = {
                "keys": [{"kid": key.get("kid"), "alg": key.get("alg")} for key in answer.keys],
                "private": sorted({name for key in answer.keys for name in key if name in PRIVATE_JWK_MEMBERS}),
            }
        case _:
            message = (
                f"the adapter's {begun.verb}() answered {answer!r:.80}; answer Allowed, Denied, Grant, AuditPage "
                "or KeySet, or raise Indeterminate"
            )
            raise HarnessError(message)
    return _operation(begun, end, outcome, reason, stated)


def failed(begun: Begun, end: float, error: BaseException) -> Operation:
    """The operation for a call that raised: unknown.

    Raises HarnessError, with the adapter's file and line, when the exception
    does not mean "no answer".
    """
    reason = no_answer(error)
    if reason is None:
        frames = traceback.extract_tb(error.__traceback__)
        where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown place"
        message = f"the adapter failed in {begun.verb}(): {type(error).__name__}: {error} ({where})"
        raise HarnessError(message) from error
    return _operation(begun, end, Outcome.UNKNOWN, reason, {})


def _operation(begun: Begun, end: float, outcome: Outcome, reason: str, stated: dict[str, Any]) -> Operation:
    return Operation(
        n=begun.n,
        story=begun.story,
        client=begun.client,
        verb=begun.verb,
        begin=begun.begin,
        end=None if outcome is Outcome.UNKNOWN else end,
        outcome=outcome,
        licence=begun.licence,
        reason=reason,
        asked=begun.asked,
        answer=stated,
    )


def _stated(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value != []}
