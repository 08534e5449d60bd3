"""``init``: the four files that a project needs to gate its licensing system."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from licensing_harness.errors import UsageError

_ADAPTER: Final = '''\
"""How licensing-harness speaks to our licensing system. Replace the calls by yours.

As written it speaks to the reference server, so that it runs at once. `async def`
over `target.http` runs in both worlds; `def` with any client library runs live.
"""

from licensing_harness import Adapter, Allowed, Cap, Contract, Denied, Grant, Indeterminate


class Licensing(Adapter):
    # What your system can do. Scenarios that need more are listed as not run.
    capabilities = {Cap.ISSUE, Cap.VALIDATE, Cap.REVOKE, Cap.IDEMPOTENCY, Cap.SEATS}
    # not_applicable = {Cap.AUDIT: "the trail lives in another product"}

    # What your system promises its customers, in seconds.
    contract = Contract(revocation_bound=0, lease=2)

    def open(self, target):
        self.http = target.http
        # From the environment: LICENSING_SECRET_API_TOKEN. The reference server's own is known.
        self.auth = {"Authorization": f"Bearer {target.secret('api_token')}"}

    async def issue(self, spec):
        body = {"plan": spec.plan, "seats": spec.seats, "features": list(spec.features), "customer": spec.customer,
                "duration": None if spec.duration is None else round(spec.duration * 1000)}
        r = await self.http.request("POST", "/v1/licences", json=body,
                                    headers={**self.auth, "Idempotency-Key": spec.idempotency_key})
        if r.status_code != 201:
            return self.answer(r)
        said, licence = r.json(), r.json()["licence"]
        return Grant(id=licence["id"], key=licence["key"], features=frozenset(licence["features"]),
                     expires=seconds(licence["expires_at"]), server_time=seconds(said["server_time"]))

    async def validate(self, key, machine=None):
        r = await self.http.request("POST", "/v1/validate", json={"key": key})
        if r.status_code != 200:
            return self.answer(r)
        found = r.json()
        if not found["valid"]:
            return Denied(found["reason"])
        return Allowed(frozenset(found["features"]), expires=seconds(found["expires_at"]),
                       server_time=seconds(found["server_time"]))

    async def revoke(self, grant):
        return self.answer(await self.http.request(
            "POST", f"/v1/licences/{grant.id}/revoke", json={"reason": "test"}, headers=self.auth))

    async def activate(self, key, machine):
        return await self.seat("activate", key, machine)

    async def release(self, key, machine):
        return await self.seat("release", key, machine)

    async def seat(self, verb, key, machine):
        return self.answer(await self.http.request(
            "POST", f"/v1/seats/{verb}", json={"key": key, "device": machine}, headers=self.auth))

    def answer(self, r):
        if r.status_code == 200:
            return Allowed()
        if r.status_code in (403, 404, 409):
            return Denied(r.json()["code"])
        raise Indeterminate(r)  # 401, 429, 5xx, a proxy's page: we do not know


def seconds(milliseconds):
    return None if milliseconds is None else milliseconds / 1000
'''

_TEST: Final = '''\
"""The scenarios of licensing-harness, run by pytest. Define a test of the same name below to replace one."""

from licensing_harness.suite import *  # noqa: F403
'''

_SETTINGS: Final = """\
# Settings of licensing-harness; `licensing-harness doctor` shows them all, each with its source.
adapter = "licensing_adapter:Licensing"
# target = "https://licences.example.com"    # without it, the reference server is judged
# allow-host = ["licences.example.com"]      # hosts other than loopback must be named
# require = ["seats"]                        # capabilities that must not be skipped
"""

_WORKFLOW: Final = """\
name: licensing
on: [push, pull_request]
permissions:
  contents: read
jobs:
  gate:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
      - uses: actions/setup-python@v6
        with:
          python-version: "3.13"
      - run: pip install 'licensing-harness[server]'
      - run: licensing-harness gate
      - if: always()
        run: cat .licensing/runs/latest/summary.md >> "$GITHUB_STEP_SUMMARY"
      - if: always()
        uses: actions/upload-artifact@v4
        with:
          name: licensing-run
          path: .licensing/runs/latest/
          include-hidden-files: true
"""

_FILES: Final = {
    "licensing_adapter.py": _ADAPTER,
    "test_licensing.py": _TEST,
    "licensing-harness.toml": _SETTINGS,
    ".github/workflows/licensing.yml": _WORKFLOW,
}


def run(directory: Path) -> int:
    """Write the files; raises UsageError, with nothing written, when one of them exists."""
    taken = [name for name in _FILES if (directory / name).exists()]
    if taken:
        message = f"{directory}: {', '.join(taken)} already there; nothing was written. Choose another directory."
        raise UsageError(message)
    for name, text in _FILES.items():
        path = directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            message = f"{path}: can't be written ({error.strerror})"
            raise UsageError(message) from error
        sys.stdout.write(f"wrote {path}\n")
    there = "" if directory == Path() else f"cd {directory} && "
    sys.stdout.write(f"next: {there}licensing-harness gate\n")
    return 0
