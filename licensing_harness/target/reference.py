"""The adapter for the reference server: what a user writes, over its public HTTP contract.

The server speaks JSON; times are Unix milliseconds, errors are RFC 9457 problem
details with a stable ``code``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from licensing_harness.errors import UsageError
from licensing_harness.target.adapter import Adapter, HttpResponse, Target
from licensing_harness.vocabulary import (
    Allowed,
    Answer,
    AuditEntry,
    AuditPage,
    Cap,
    Contract,
    Denied,
    Grant,
    Indeterminate,
    KeySet,
    LicenceSpec,
)

LEASE: Final = 2
TOKEN_LIFETIME: Final = 3
"""Seconds: short, so that tests can outlive them. The server is started with them."""

REFERENCE_SIMULATED: Final = (
    f"asgi:reference_server.composition:simulated?lease={LEASE}&token_lifetime={TOKEN_LIFETIME}"
)
"""The reference server as a target of the simulated world."""

_PAGE: Final = 500
_UNAUTHORISED: Final = 401
_REQUEST_ERROR: Final = 400
_SERVER_ERROR: Final = 500
_TOO_MANY: Final = 429


def simulated(defect: str = "") -> str:
    """The simulated reference server, with one of its named defects switched on if one is given."""
    return REFERENCE_SIMULATED + (f"&defect={defect}" if defect else "")


class ReferenceAdapter(Adapter):
    """Speaks to the reference server. Needs the secret ``api_token``."""

    capabilities: ClassVar[frozenset[Cap]] = frozenset(
        {
            Cap.ISSUE,
            Cap.VALIDATE,
            Cap.RENEW,
            Cap.SUSPEND,
            Cap.REVOKE,
            Cap.IDEMPOTENCY,
            Cap.SEATS,
            Cap.HEARTBEAT,
            Cap.TOKENS,
            Cap.AUDIT,
            Cap.AUDIT_CHAIN,
        }
    )
    contract = Contract(revocation_bound=0, lease=LEASE, token_lifetime=TOKEN_LIFETIME, clock_tolerance=0.05)

    def open(self, target: Target) -> None:
        """Keep what the world gives; ask for the API token once."""
        self._http = target.http
        self._as_vendor = {"Authorization": f"Bearer {target.secret('api_token')}"}

    async def issue(self, spec: LicenceSpec) -> Answer:
        """POST /v1/licences."""
        said = await self._call(
            "POST",
            "/v1/licences",
            {
                "plan": spec.plan,
                "seats": spec.seats,
                "features": list(spec.features),
                "duration": None if spec.duration is None else round(spec.duration * 1000),
                "customer": spec.customer,
            },
            {**self._as_vendor, "Idempotency-Key": spec.idempotency_key},
        )
        if isinstance(said, Denied):
            return said
        licence = said["licence"]
        return Grant(
            id=licence["id"],
            key=licence["key"],
            features=frozenset(licence["features"]),
            expires=_seconds(licence.get("expires_at")),
            server_time=_seconds(said["server_time"]),
        )

    async def validate(self, key: str, machine: str | None = None) -> Answer:
        """POST /v1/validate with the licence key."""
        return await self._validate({"key": key} if machine is None else {"key": key, "device": machine})

    async def validate_token(self, token: str) -> Answer:
        """POST /v1/validate with an access token."""
        return await self._validate({"token": token})

    async def renew(self, grant: Grant, duration: float) -> Answer:
        """POST /v1/licences/{id}/renew."""
        return await self._change(grant, "renew", {"duration": round(duration * 1000)})

    async def suspend(self, grant: Grant) -> Answer:
        """POST /v1/licences/{id}/suspend."""
        return await self._change(grant, "suspend", {"reason": "test"})

    async def reinstate(self, grant: Grant) -> Answer:
        """POST /v1/licences/{id}/reinstate."""
        return await self._change(grant, "reinstate", {"reason": "test"})

    async def revoke(self, grant: Grant) -> Answer:
        """POST /v1/licences/{id}/revoke."""
        return await self._change(grant, "revoke", {"reason": "test"})

    async def activate(self, key: str, machine: str) -> Answer:
        """POST /v1/seats/activate."""
        return await self._seat("activate", key, machine)

    async def heartbeat(self, key: str, machine: str) -> Answer:
        """POST /v1/seats/heartbeat."""
        return await self._seat("heartbeat", key, machine)

    async def release(self, key: str, machine: str) -> Answer:
        """POST /v1/seats/release."""
        return await self._seat("release", key, machine)

    async def issue_token(self, key: str) -> Answer:
        """POST /v1/tokens."""
        said = await self._call("POST", "/v1/tokens", {"key": key})
        if isinstance(said, Denied):
            return said
        return Allowed(
            token=said["token"], expires=_seconds(said["expires_at"]), server_time=_seconds(said["server_time"])
        )

    async def jwks(self) -> Answer:
        """GET /.well-known/jwks.json."""
        said = await self._call("GET", "/.well-known/jwks.json")
        return said if isinstance(said, Denied) else KeySet(said["keys"])

    async def audit_log(self, after: int, licences: frozenset[str]) -> Answer:  # noqa: ARG002 - one trail for all
        """GET /v1/audit, page by page up to its head."""
        entries: list[AuditEntry] = []
        while True:
            said = await self._call("GET", f"/v1/audit?after={after}&limit={_PAGE}", headers=self._as_vendor)
            if isinstance(said, Denied):
                return said
            entries += [_entry(each) for each in said["events"]]
            after = entries[-1].seq if entries else after
            if not said["events"] or after >= said["head"]["seq"]:
                return AuditPage(entries)

    async def _validate(self, asked: dict[str, Any]) -> Answer:
        said = await self._call("POST", "/v1/validate", asked)
        if isinstance(said, Denied):
            return said
        time = _seconds(said["server_time"])
        if not said["valid"]:
            return Denied(said["reason"], server_time=time)
        return Allowed(frozenset(said["features"]), expires=_seconds(said.get("expires_at")), server_time=time)

    async def _change(self, grant: Grant, what: str, asked: dict[str, Any]) -> Answer:
        said = await self._call("POST", f"/v1/licences/{grant.id}/{what}", asked, self._as_vendor)
        if isinstance(said, Denied):
            return said
        return Allowed(
            frozenset(said["licence"]["features"]),
            expires=_seconds(said["licence"].get("expires_at")),
            server_time=_seconds(said["server_time"]),
        )

    async def _seat(self, what: str, key: str, device: str) -> Answer:
        said = await self._call("POST", f"/v1/seats/{what}", {"key": key, "device": device}, self._as_vendor)
        if isinstance(said, Denied):
            return said
        return Allowed(lease_until=_seconds(said.get("lease_until")), server_time=_seconds(said["server_time"]))

    async def _call(
        self, method: str, path: str, asked: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> Any:
        """The answer's JSON, or Denied. Raises Indeterminate for what is neither yes nor no."""
        response = await self._http.request(method, path, json=asked, headers=headers)
        status = response.status_code
        if status >= _SERVER_ERROR or status == _TOO_MANY:
            raise Indeterminate(response)
        if status == _UNAUTHORISED:
            message = "the target refused the API token: set LICENSING_SECRET_API_TOKEN"
            raise UsageError(message)
        return _denied(response) if status >= _REQUEST_ERROR else response.json()


def _denied(response: HttpResponse) -> Denied:
    """The refusal of a problem document. Raises Indeterminate for any other 4xx, a proxy's page for instance."""
    if not response.headers.get("content-type", "").startswith("application/problem+json"):
        raise Indeterminate(response)
    problem = response.json()
    return Denied(problem["code"], server_time=_seconds(problem.get("server_time")))


def _entry(said: dict[str, Any]) -> AuditEntry:
    event = said["event"]
    return AuditEntry(
        seq=event["seq"],
        actor=event["actor"],
        action=event["action"],
        licence=event["licence"] or "",
        event=event,
        previous=said["previous"],
        hash=said["hash"],
    )


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
