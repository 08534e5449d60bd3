"""The foreign target's adapter and driver: small, honest, and gone when they end."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import httpx2
import pytest

from examples.license_manager import run
from examples.license_manager.adapter import LicenseManager
from licensing_harness import Allowed, Denied, Grant, Indeterminate, LicenceSpec, Reason
from licensing_harness.errors import TargetNotReady
from licensing_harness.target import check_adapter
from licensing_harness.target.adapter import blocking_verbs

EXAMPLE = Path(run.__file__).parent


def test_the_adapter_is_in_order_and_short() -> None:
    """The adapter contract needs at most 60 lines for a server that nobody here wrote."""
    check_adapter(LicenseManager)

    assert len((EXAMPLE / "adapter.py").read_text().splitlines()) <= 60
    assert set(blocking_verbs(LicenseManager)) == {"issue", "activate", "release"}


class Backend:
    """Answers what the real one answers, as far as the adapter can tell."""

    def __init__(self, seats: int = 0) -> None:
        self.total = seats
        self.jobs: list[str] = []
        self.broken = False

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        path, method = request.url.path, request.method
        if self.broken:
            return httpx2.Response(400, json={"detail": "Object could not be read."})
        if path.startswith("/lm/jobs/slurm_job_id/"):
            job = path.rpartition("/")[2]
            if job not in self.jobs:
                return httpx2.Response(404, json={"detail": "The job doesn't exist in this cluster."})
            if method == "DELETE":
                self.jobs.remove(job)
            return httpx2.Response(200, json={"id": 1})
        if path == "/lm/jobs":
            if len(self.jobs) >= self.total:
                return httpx2.Response(409, json={"detail": "Not enough licenses available."})
            self.jobs.append(httpx2.Response(200, content=request.content).json()["slurm_job_id"])
        if path == "/lm/features/bulk":
            self.total = httpx2.Response(200, content=request.content).json()[0]["total"]
        return httpx2.Response(201, json={"id": 1})


@pytest.fixture
def backend() -> Backend:
    """A backend in memory."""
    return Backend()


@pytest.fixture
def adapter(backend: Backend) -> LicenseManager:
    """The adapter over it."""
    made = LicenseManager()
    made.http = httpx2.Client(base_url="http://backend", transport=httpx2.MockTransport(backend))
    return made


def test_a_device_takes_one_seat_however_often_it_asks(adapter: LicenseManager, backend: Backend) -> None:
    """Activating again keeps the seat, as every adapter's activate has to."""
    grant = adapter.issue(LicenceSpec(seats=1, idempotency_key="lh-1.L1"))

    assert isinstance(grant, Grant)
    assert adapter.activate(grant.key, "laptop") == Allowed()
    assert adapter.activate(grant.key, "laptop") == Allowed()
    assert len(backend.jobs) == 1
    assert adapter.activate(grant.key, "phone") == Denied(Reason.NO_FREE_SEAT)
    assert adapter.release(grant.key, "phone") == Denied(Reason.NO_SUCH_SEAT)
    assert adapter.release(grant.key, "laptop") == Allowed()
    assert adapter.activate(grant.key, "phone") == Allowed()


def test_a_status_400_is_unknown(adapter: LicenseManager, backend: Backend) -> None:
    """The backend answers 400 when its database is gone, so a 400 refuses nothing."""
    backend.broken = True

    with pytest.raises(Indeterminate):
        adapter.activate("lh-1.seat", "laptop")


def test_without_postgresql_the_driver_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line with the way out, and the exit code of a target that is not ready."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(run, "DEBIAN", tmp_path)

    assert run.main() == TargetNotReady.exit_code
    assert capsys.readouterr().err.startswith("ERROR: PostgreSQL is not installed")


def test_the_database_is_gone_when_it_ends(tmp_path: Path) -> None:
    """PostgreSQL starts as an unprivileged user on loopback below the ephemeral ports, and leaves nothing."""
    try:
        binaries = run.postgresql()
    except TargetNotReady as reason:
        pytest.skip(str(reason))
    # pytest's own directories are closed to other users; PostgreSQL runs as one when we are root.
    with run.home() as place, run.database(binaries, place) as port:
        assert port < 32768
        assert run.listening(port)
        with socket.create_connection(("127.0.0.1", port)):
            pass

    assert not run.listening(port)
    assert not place.exists()


def test_a_process_that_does_not_start_is_reported_with_its_log(tmp_path: Path) -> None:
    """The last lines of the log stand in the error, for that is where the reason is."""
    (tmp_path / "initdb").write_text("#!/bin/sh\necho no space left >&2\nexit 1\n")
    (tmp_path / "initdb").chmod(0o755)

    with run.home() as place:
        (place / "bin").mkdir()
        shutil.copy(tmp_path / "initdb", place / "bin")
        with pytest.raises(TargetNotReady, match="no space left"), run.database(place / "bin", place):
            pass
