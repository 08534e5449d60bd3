"""Requests made up from a target's own OpenAPI: no 5xx, and no answer that the document does not allow.

Schemathesis makes valid and invalid requests for each operation. Alone it never
gets past an identifier that has to exist; so what the target hands out (ids,
keys, tokens of licences made here) is put into later requests, and tokens come
forged as well. Only ids that an answer to a POST of ours created are used:
nothing that was there before is touched.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

from licensing_harness.clock import Clock
from licensing_harness.errors import NotRun, TargetNotReady
from licensing_harness.generate.attacks import ATTACKS, forge
from licensing_harness.masking import Masker

if TYPE_CHECKING:
    import requests
    from schemathesis import APIOperation, Case, Response

BATCH: Final = 12
"""Examples an operation gets before the next one has its turn."""
SHRINKS: Final = 150
"""Requests that making one failing case smaller may take."""
_KEPT: Final = 32
_FORMATS: Final[Mapping[str, str]] = {
    "key": "licence-key",
    "licence_key": "licence-key",
    "license_key": "licence-key",
    "token": "licence-token",
    "licence_id": "licence-id",
    "license_id": "licence-id",
}
"""What a member or parameter of this name is filled with."""
_IDS: Final = frozenset({"id", "licence_id", "license_id"})
_SECRET: Final = frozenset({"key", "licence_key", "license_key", "token", "api_token", "secret", "private_key"})
_ADMIN: Final = re.compile(r"api[-_]?(token|key)s?/\{", re.IGNORECASE)
"""Operations on one credential of the target's own: using them could lock this run out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FuzzFinding:
    """One way in which an operation failed, and the smallest request that shows it."""

    kind: str
    operation: str
    status: int
    """0 when no answer came."""
    text: str
    curl: str

    def __str__(self) -> str:
        status = f"HTTP {self.status}" if self.status else "no answer"
        return f"{self.operation}: {self.kind} ({status})\n  {self.text}\n  {self.curl}"


@dataclass(kw_only=True, slots=True)
class FuzzReport:
    """What a run tried and found. Findings are distinct by operation, kind and status."""

    requests: int = 0
    seconds: float = 0.0
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    """Answers by operation and HTTP status."""
    left_out: tuple[str, ...] = ()
    findings: tuple[FuzzFinding, ...] = ()

    @property
    def reached(self) -> int:
        """Operations that gave a 2xx at least once."""
        return sum(any(200 <= status < 300 for status in seen) for seen in self.statuses.values())  # noqa: PLR2004


class _Pools:
    """Values for our formats. What a batch draws from stays as it is until the next one, or nothing would shrink."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._found: dict[str, dict[str, None]] = {name: {} for name in set(_FORMATS.values())}
        self._good: dict[str, tuple[str, ...]] = {}
        self._bad: dict[str, tuple[str, ...]] = {}
        self.settle()

    def settle(self) -> None:
        """Use what was found so far from now on."""
        self._good = {name: tuple(values)[-_KEPT:] for name, values in self._found.items()}
        forged = tuple(each for token in self._good["licence-token"][-1:] for each in _forgeries(token))
        for each in forged:
            self._masker.register(each)
        self._bad = {
            "licence-key": ("", "unknown.key", "a.b.c"),
            "licence-token": ("", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", *forged),
            "licence-id": ("unknown",),
        }

    def draw(self, name: str, number: int) -> str:
        """A value for a format: one that was handed out for every other number, where there is any."""
        good = self._good[name] if number % 2 else ()
        values = good or self._bad[name]
        return values[number // 2 % len(values)]

    def read(self, response: Response) -> None:
        """Keep what an answer to a POST hands out, and register its secrets."""
        try:
            value = json.loads(response.content)
        except ValueError:
            return
        for name, text in _texts(value):
            if name in _SECRET:
                self._masker.register(text)
            if not 200 <= response.status_code < 300 or response.request.method != "POST":  # noqa: PLR2004
                continue
            if name in _FORMATS:
                self._found[_FORMATS[name]].setdefault(text)
            elif name in _IDS and response.status_code == 201:  # noqa: PLR2004
                self._found["licence-id"].setdefault(text)


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield name, value
        case dict():
            for member, inner in value.items():
                yield from _texts(inner, str(member))
        case list():
            for inner in value:
                yield from _texts(inner)


def _forgeries(token: str) -> Iterator[str]:
    for attack in ATTACKS.values():
        try:
            yield forge(attack.id, token, None)
        except NotRun:
            continue


def _with_formats(schema: Any, name: str = "") -> Any:
    """The document with our formats put where its names say what is meant, and nothing else changed."""
    match schema:
        case {"in": str(), "name": str(parameter), "schema": dict(inner), **rest}:
            return {**rest, "in": schema["in"], "name": parameter, "schema": _with_formats(inner, parameter)}
        case {"properties": dict(properties), **rest}:
            named = {member: _with_formats(inner, member) for member, inner in properties.items()}
            return {**{key: _with_formats(inner) for key, inner in rest.items()}, "properties": named}
        case {"type": "string"} if name in _FORMATS and "format" not in schema and "enum" not in schema:
            # A pattern or a length would be generated instead of what the target handed out.
            kept = {key: inner for key, inner in schema.items() if key not in {"pattern", "minLength", "maxLength"}}
            return {**kept, "format": _FORMATS[name]}
        case dict():
            combined = {"anyOf", "oneOf", "allOf"}
            return {key: _with_formats(inner, name if key in combined else "") for key, inner in schema.items()}
        case list():
            return [_with_formats(inner, name) for inner in schema]
        case _:
            return schema


class _Fuzzer:
    def __init__(
        self, *, url: str, headers: Mapping[str, str], seconds: float, max_requests: int, clock: Clock, masker: Masker
    ) -> None:
        self.url = url
        self.report = FuzzReport()
        self.pools = _Pools(masker)
        self.smallest: dict[tuple[str, str, int], FuzzFinding] = {}
        self._headers = dict(headers)
        self._clock = clock
        self._masker = masker
        self._max_requests = max_requests
        self._started = clock.now()
        self._until = self._started + seconds
        self._shrinks = 0

    @property
    def over(self) -> bool:
        """Time or requests are used up."""
        return self._clock.now() >= self._until or self.report.requests >= self._max_requests

    def finish(self) -> FuzzReport:
        """The report, its findings in a stable order."""
        self.report.seconds = self._clock.now() - self._started
        self.report.findings = tuple(self.smallest[key] for key in sorted(self.smallest))
        return self.report

    def batch(
        self, operation: APIOperation[Any, Any, Any, Any], *, valid: bool, seed: int, session: requests.Session
    ) -> None:
        """Try one operation a few times; a failure not seen before is made smaller."""
        from hypothesis import HealthCheck, Phase, given, settings
        from hypothesis import seed as seeded
        from hypothesis.errors import HypothesisException
        from schemathesis import GenerationMode

        known = set(self.smallest)
        self._shrinks = SHRINKS
        mode = GenerationMode.POSITIVE if valid else GenerationMode.NEGATIVE

        @seeded(seed)
        @settings(
            max_examples=BATCH,
            database=None,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        @given(operation.as_strategy(generation_mode=mode))
        def attempt(case: Case[Any]) -> None:
            new = self._try(case, session) - known
            if new and self._shrinks > 0:
                self._shrinks -= 1
                raise _Found(min(new))

        try:
            attempt()
        except _Found:
            return
        except HypothesisException:
            # The failure did not show again, or nothing could be made up: what was found is recorded.
            return

    def _try(self, case: Case[Any], session: requests.Session) -> set[tuple[str, str, int]]:
        import requests
        from schemathesis.core.failures import FailureGroup, ServerError

        if self.over:
            return set()
        label = case.operation.label
        self.report.requests += 1
        try:
            response = case.call(base_url=self.url, session=session, headers=self._headers, timeout=5)
        except (requests.Timeout, requests.ConnectionError) as error:
            self.report.statuses.setdefault(label, Counter())[0] += 1
            return {self._keep(case, "no answer", 0, type(error).__name__)}
        except (requests.RequestException, UnicodeError, ValueError):
            return set()  # not a request that HTTP can carry
        self.report.statuses.setdefault(label, Counter())[response.status_code] += 1
        self.pools.read(response)
        try:
            case.validate_response(response, checks=_checks(), headers=self._headers)
        except FailureGroup as group:
            # One bug, one finding: that a 500 is not documented either says nothing new.
            failures = [each for each in group.exceptions if isinstance(each, ServerError)] or group.exceptions
            answer = response.content[:65536].decode(errors="replace")
            return {
                self._keep(case, each.title, response.status_code, each.message or f"answered {answer}")
                for each in failures
            }
        return set()

    def _keep(self, case: Case[Any], kind: str, status: int, text: str) -> tuple[str, str, int]:
        identity = (case.operation.label, kind, status)
        curl = self._masker.mask(case.as_curl_command(headers=self._headers, base_url=self.url))
        smallest = self.smallest.get(identity)
        if smallest is None or len(curl) < len(smallest.curl):
            shown = " ".join(self._masker.mask(text).split())
            self.smallest[identity] = FuzzFinding(
                kind=kind, operation=identity[0], status=status, text=shown[:400], curl=curl
            )
        return identity


class _Found(Exception):
    """Tells Hypothesis to look for a smaller request."""


def _checks() -> list[Callable[..., bool | None]]:
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    return [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_headers_conformance,
        checks.response_schema_conformance,
    ]


def fuzz(
    url: str,
    *,
    headers: Mapping[str, str],
    seconds: float,
    max_requests: int,
    seed: int,
    clock: Clock,
    masker: Masker,
    openapi_url: str | None = None,
) -> FuzzReport:
    """Try every operation in turn for ``seconds``, with at most ``max_requests`` requests.

    Raises NotRun when Schemathesis is not installed or the target publishes no
    OpenAPI document, TargetNotReady when it does not answer.
    """
    try:
        import requests
        import schemathesis
        from hypothesis import strategies as st
        from schemathesis.core.result import Ok
    except ImportError:
        raise NotRun("needs Schemathesis: pip install 'licensing-harness[fuzz]'") from None
    fuzzer = _Fuzzer(url=url, headers=headers, seconds=seconds, max_requests=max_requests, clock=clock, masker=masker)
    for name in sorted(set(_FORMATS.values())):
        schemathesis.openapi.format(name, st.builds(fuzzer.pools.draw, st.just(name), st.integers(0, 2**16)))
    with requests.Session() as session:
        document = _document(openapi_url or f"{url.rstrip('/')}/openapi.json", session)
        schema = schemathesis.openapi.from_dict(_with_formats(document), config=schemathesis.Config())
        operations = [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]
        chosen = [each for each in operations if not _ADMIN.search(each.path)]
        fuzzer.report.left_out = tuple(each.label for each in operations if each not in chosen)
        if not chosen:
            raise NotRun("the target's OpenAPI document has no operation to try")
        for number, operation in enumerate(cycle(chosen)):
            if fuzzer.over:
                break
            turn = number // len(chosen)
            fuzzer.pools.settle()
            fuzzer.batch(operation, valid=turn % 3 != 2, seed=seed + number, session=session)  # noqa: PLR2004
    return fuzzer.finish()


def _document(url: str, session: requests.Session) -> dict[str, Any]:
    import requests

    try:
        answer = session.get(url, timeout=5)
    except requests.RequestException as error:
        message = f"{url}: no answer ({type(error).__name__})"
        raise TargetNotReady(message) from error
    try:
        document = answer.json() if answer.status_code == requests.codes.ok else None
    except ValueError:
        document = None
    if not isinstance(document, dict) or "paths" not in document:
        message = f"the target publishes no OpenAPI document at {url} (HTTP {answer.status_code})"
        raise NotRun(message)
    return document
