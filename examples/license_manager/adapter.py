"""Speaks to license-manager-backend: a licence is a feature of a product, a seat is a job that books it."""

from collections.abc import Mapping
from typing import ClassVar

import httpx2

from licensing_harness import Adapter, Allowed, Cap, Denied, Grant, Indeterminate, LicenceSpec, Reason, Target


class LicenseManager(Adapter):
    """Seats only: the backend books licences for cluster jobs and knows no licence keys."""

    capabilities: ClassVar[set[Cap]] = {Cap.ISSUE, Cap.SEATS}
    not_applicable: ClassVar[dict[Cap, str]] = {
        Cap.VALIDATE: "licences are booked for a job, there is no key to validate",
        Cap.REVOKE: "the total of a feature changes, a licence is never revoked",
        Cap.TOKENS: "access tokens come from an identity provider",
        Cap.HEARTBEAT: "a booking lasts until its job is deleted, there is no lease",
    }

    def open(self, target: Target) -> None:
        """Connections of this client's own."""
        self.http = httpx2.Client(base_url=target.url, timeout=target.timeout)

    def close(self) -> None:
        """Let go of them."""
        self.http.close()

    def issue(self, spec: LicenceSpec) -> Grant:
        """A product and a feature named by the run; only the bulk update sets how many there are."""
        name = spec.idempotency_key.replace(".", "-")
        self._answer(made := self.http.post("/lm/products", json={"name": name}))
        configuration = {"name": name, "cluster_client_id": "cluster-a", "grace_time": 60, "type": "flexlm"}
        features = [{"name": "seat", "product_id": made.json()["id"]}]
        configuration |= {"features": features, "license_servers": [{"host": "localhost", "port": 1}]}
        self._answer(self.http.post("/lm/configurations", json=configuration))
        total = {"product_name": name, "feature_name": "seat", "total": spec.seats, "used": 0}
        self._answer(self.http.put("/lm/features/bulk", json=[total]))
        return Grant(id=name, key=f"{name}.seat")

    def activate(self, key: str, machine: str) -> Allowed | Denied:
        """Book one for the device's job; a device whose job exists holds its seat already."""
        job = f"{key}-{machine}"
        if self.http.get(f"/lm/jobs/slurm_job_id/{job}").status_code == httpx2.codes.OK:
            return Allowed()
        bookings = [{"product_feature": key, "quantity": 1}]
        wanted = {"slurm_job_id": job, "username": machine, "lead_host": machine, "bookings": bookings}
        return self._answer(self.http.post("/lm/jobs", json=wanted), {409: Reason.NO_FREE_SEAT})

    def release(self, key: str, machine: str) -> Allowed | Denied:
        """Delete the device's job, and its booking with it."""
        return self._answer(self.http.delete(f"/lm/jobs/slurm_job_id/{key}-{machine}"), {404: Reason.NO_SUCH_SEAT})

    def _answer(self, said: httpx2.Response, refusals: Mapping[int, str] = {}) -> Allowed | Denied:
        if said.is_success:
            return Allowed()
        if said.status_code in refusals:
            return Denied(refusals[said.status_code])
        raise Indeterminate(said)  # 400 as well: it is what the backend says when its database is gone
