import httpx2

from licensing_harness import Adapter, Allowed, Cap, Contract, Denied, Grant, Indeterminate


class Lockbox(Adapter):
    capabilities = {Cap.ISSUE, Cap.VALIDATE, Cap.REVOKE, Cap.IDEMPOTENCY, Cap.SEATS}
    not_applicable = {Cap.ROLLOUT: "feature flags live in another product"}
    contract = Contract(revocation_bound=5, lease=60)  # what Lockbox promises its customers, in seconds

    def open(self, target):
        headers = {"X-Admin": target.secret("admin_token")}  # from LICENSING_SECRET_ADMIN_TOKEN
        self.http = httpx2.Client(base_url=target.url, timeout=target.timeout, headers=headers)

    def close(self):
        self.http.close()

    def issue(self, spec):
        body = {"plan": spec.plan, "seats": spec.seats, "features": spec.features, "reference": spec.customer}
        said = self.http.post("/licences", json=body, headers={"Idempotency-Key": spec.idempotency_key})
        return Grant(id=said.json()["id"], key=said.json()["key"]) if said.status_code == 201 else self.answer(said)

    def validate(self, key, machine=None):
        return self.answer(self.http.post("/check", json={"key": key, "device": machine}))

    def revoke(self, grant):
        return self.answer(self.http.delete(f"/licences/{grant.id}"))

    def activate(self, key, machine):
        return self.answer(self.http.post("/seats", json={"key": key, "device": machine}))

    def release(self, key, machine):
        return self.answer(self.http.delete(f"/seats/{machine}", params={"key": key}))

    def answer(self, said):
        if said.status_code in (200, 204):
            return Allowed(frozenset(said.json().get("features", ())) if said.content else frozenset())
        if said.status_code in (403, 404, 409, 410):
            return Denied(said.json()["code"])
        raise Indeterminate(said)  # 429, a 5xx, a proxy's page: we do not know
