"""The command line: help, errors in one line, and every command on the toy target."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from licensing_harness import cli, run
from licensing_harness.errors import UsageError
from licensing_harness.faults.toxiproxy import ToxiproxyClient

TOY = ("--target", "asgi:toy:simulated", "--adapter", "toy:ToyAdapter")
RACED = ("--target", "asgi:toy:simulated?race=1", "--adapter", "toy:ToyAdapter")
REFERENCE = "licensing_harness.target.reference:ReferenceAdapter"


@pytest.mark.parametrize(
    "name", ["gate", "drill", "explore", "serve", "proxy", "check", "replay", "prove", "doctor", "init"]
)
def test_every_command_has_help_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """``--help`` says what a command does and shows how it is called."""
    assert cli._main([name, "--help"]) == 0

    shown = capsys.readouterr().out
    assert "Examples" in shown
    assert f"licensing-harness {name}" in shown


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    """``--version`` names the harness and its version."""
    assert cli._main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("licensing-harness 0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gate", "--no-such"], "No such option: --no-such. See: licensing-harness gate --help"),
        (["gait"], "No such command 'gait'. Did you mean 'gate'? See: licensing-harness --help"),
        (["check"], "Missing argument 'HISTORY'. See: licensing-harness check --help"),
        (["check", "nowhere.jsonl"], "nowhere.jsonl: not there. Give a history.jsonl, or a run directory"),
        (["replay", "SEA-001-0000"], "no case 'SEA-001-0000' under"),
        (["gate", "--depth", "deep"], "--depth: 'deep' is none of smoke, ci, nightly"),
        (["gate", "--target", "lockbox"], "--target: 'lockbox' is no target; give http(s)://HOST or asgi:"),
        (["gate", "--target", "http://127.0.0.1:1"], "--target: a target needs an adapter"),
        (["gate", "--defect", "none-such"], "no defect none-such; there are "),
        (["explore", "--defect", "none-such"], "no defect none-such; there are "),
        (["drill", "flapping-link", "--defect", "none-such"], "no defect none-such; there are "),
        (["drill", "none-such"], "no drill 'none-such' here, and no file of that name; there are answers-lost"),
        (["prove", "--defect", "none-such"], "no defect none-such; there are "),
        (
            ["proxy", "--host", "0.0.0.0"],
            "--host: the embedded proxy listens on loopback addresses only, not on '0.0.0.0'",
        ),
        (["proxy", "--host", "here"], "--host: the embedded proxy listens on loopback addresses only, not on 'here'"),
        (["prove", "--depth", "deep"], "--depth 'deep' is none of smoke, ci, nightly"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_4(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every usage error is one line on stderr that names the mistake and the way out."""
    monkeypatch.chdir(tmp_path)

    code = cli._main(arguments)

    told = capsys.readouterr().err
    assert code == 4
    assert message in told
    assert told.count("\n") == 1


def test_the_settings_file_is_checked_by_the_command_line_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown key of ``licensing-harness.toml`` or of ``[tool.pytest]`` stops the gate before it starts."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest]\nlicensing_sead = 1\n")

    assert cli._main(["gate"]) == 4
    assert "pyproject.toml: licensing_sead: unknown key; did you mean 'licensing_seed'?" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("room", [200, 3_000, 60_000])
def test_a_full_disk_is_the_runs_error(tmp_path: Path, room: int) -> None:
    """However late the history finds no room: exit 3, the way out, no traceback, and no promise is accused."""
    script = (
        f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room})); "
        "sys.dont_write_bytecode = True; sys.argv[0] = 'licensing-harness'; "
        "runpy.run_module('licensing_harness', run_name='__main__')"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, "gate", "--only", "validity", "--depth", "smoke", "--world", "simulated"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 3, done.stdout + done.stderr
    assert "the history can't be written (File too large). Free space, or choose another folder" in " ".join(
        (done.stdout + done.stderr).split()
    )
    assert "Traceback" not in done.stdout + done.stderr


def test_pytest_killed_is_the_runs_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A gate whose pytest is killed exits 3, and not with what is left of a negative number."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dies.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    assert cli._main(["gate", "--", "-p", "dies"]) == 3


def test_without_the_server_extra_the_pip_line_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the reference server's packages are missing, exit 4 says how to get them, and the other way."""
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda name: None if name == "starlette" else object())

    with pytest.raises(UsageError, match=r"needs starlette: pip install 'licensing-harness\[server\]'. Or judge") as it:
        run.need_server_extra()

    assert it.value.exit_code == 4


def test_the_gate_judges_shows_replays_and_checks(command: Any, tmp_path: Path) -> None:
    """A race of the toy: exit 1 with evidence on one screen; replay shows it again, check says the same."""
    gate = command("gate", *RACED, "--only", "seats", "--depth", "smoke", "--seed", "1")

    result = json.loads((tmp_path / ".licensing" / "runs" / "latest" / "result.json").read_text())
    cases = {each["case"] for each in result["findings"] if each["promise"] == "SEA-001"}
    # Of several findings of a promise the clearest is on the screen.
    [case] = {line.split()[-1] for line in gate.out.splitlines() if "licensing-harness replay SEA-001" in line}
    again = command("replay", case)
    checked = command("check", ".licensing/runs/latest/history.jsonl")
    latest = (tmp_path / ".licensing" / "runs" / "latest").resolve()

    assert gate.code == 1, gate.out + gate.err
    assert "✗ SEA-001 never more holders than seats" in gate.out
    assert case in cases
    assert "Traceback" not in gate.out + gate.err
    assert again.code == 1, again.out + again.err
    assert "SEA-001 is broken again (exit 1)" in again.out
    assert checked.code == 1, checked.out + checked.err
    assert latest == (tmp_path / ".licensing" / "runs" / "latest").resolve()
    assert latest.name == result["run"]


def test_a_case_is_held_by_a_target_without_the_bug(command: Any, tmp_path: Path) -> None:
    """Replayed on the mended target the promise holds: exit 0, and the words say so."""
    command("gate", *RACED, "--only", "seats", "--depth", "smoke", "--seed", "1")
    [case, *_] = sorted((tmp_path / ".licensing" / "runs" / "latest" / "cases").glob("SEA-001-*.json"))

    again = command("replay", str(case), *TOY)

    assert again.code == 0, again.out + again.err
    assert "SEA-001 held this time: it did not break again in 1 of 1 rounds (exit 0)" in again.out


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}", "not a case"), ('{"schema": 9}', "a case in schema 9; this version reads up to 1"), ("x", "not a case")],
)
def test_a_file_that_is_no_case_is_exit_4(command: Any, tmp_path: Path, text: str, message: str) -> None:
    """Replay says what is wrong with its file."""
    (tmp_path / "case.json").write_text(text)

    done = command("replay", "case.json")

    assert done.code == 4
    assert message in done.err


def test_check_reads_torn_and_refuses_future_and_damaged_histories(command: Any, tmp_path: Path) -> None:
    """A torn last line is dropped and said; a later schema and a damaged line are exit 4."""
    command("gate", *TOY, "--only", "REV-001", "--depth", "smoke")
    whole = (tmp_path / ".licensing" / "runs" / "latest" / "history.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    (tmp_path / "torn.jsonl").write_bytes(whole + b'{"kind":"oper')
    (tmp_path / "future.jsonl").write_bytes(whole.replace(b'"schema":1', b'"schema":2', 1))
    (tmp_path / "damaged.jsonl").write_bytes(lines[0] + lines[1] + b"{}\n" + b"".join(lines[2:]))

    torn, future, damaged = (command("check", f"{name}.jsonl") for name in ("torn", "future", "damaged"))

    assert torn.code in {0, 10}, torn.err
    assert "the last line was cut (13 bytes) and is not judged" in " ".join(torn.out.split())
    assert future.code == 4
    assert "history schema 2; this version reads up to 1" in future.err
    assert damaged.code == 4
    assert "damaged.jsonl:3: damaged history" in damaged.err


def test_what_pytest_gets_after_the_dashes(command: Any) -> None:
    """Arguments after ``--`` are pytest's; ``-v`` shows pytest's own output."""
    done = command("gate", *TOY, "-v", "--depth", "smoke", "--", "-k", "test_seats_contended and calm")

    assert done.code == 0, done.out + done.err
    assert "1 passed" in done.out
    assert "scenarios/seats/test_seats.py" in done.out


def test_the_gate_runs_on_two_workers(command: Any) -> None:
    """``-- -n 2`` spreads the scenarios; the screen is the same."""
    done = command("gate", *TOY, "--depth", "smoke", "--only", "REV-001", "--", "-n", "2", "-k", "not generated")

    assert done.code in {0, 10}, done.out + done.err
    assert "licensing-harness 0." in done.out
    assert "revocation" in done.out


def test_doctor_shows_settings_with_sources_and_the_adapter(command: Any, tmp_path: Path) -> None:
    """Every setting, who said it, what the adapter can do; no secret's value."""
    (tmp_path / "licensing-harness.toml").write_text("depth = 'nightly'\n")

    done = command("doctor", *TOY, LICENSING_SEED="7", LICENSING_SECRET_ADMIN_TOKEN="hunter2-hunter2")

    told = {tuple(line.split()[:3]) for line in done.out.splitlines()}
    assert done.code == 0, done.out + done.err
    assert ("depth", "nightly", "licensing-harness.toml:") in told
    assert ("seed", "7", "LICENSING_SEED") in told
    assert ("target", "asgi:toy:simulated", "--target") in told
    assert "adapter toy:ToyAdapter can: audit, idempotency, issue" in done.out
    assert "live: the live world needs a URL" in done.out
    assert "admin_token (values not shown)" in done.out
    assert "hunter2" not in done.out


def test_doctor_fails_on_a_bad_adapter(command: Any, tmp_path: Path) -> None:
    """A claim without a method is doctor's exit 4, as it is the gate's."""
    (tmp_path / "claims.py").write_text(
        "from licensing_harness import Adapter, Cap\nclass Claims(Adapter):\n    capabilities = {Cap.SEATS}\n"
    )

    done = command("doctor", "--target", "asgi:toy:simulated", "--adapter", "claims:Claims")

    assert done.code == 4
    assert "declares seats but has no activate()" in done.out


def test_init_writes_what_runs_at_once_and_overwrites_nothing(command: Any, tmp_path: Path) -> None:
    """Four files; the gate and plain pytest run them as they are; a second init writes nothing."""
    first = command("init", "here")
    before = {path: path.read_text() for path in (tmp_path / "here").rglob("*") if path.is_file()}
    second = command("init", "here")
    quick = ("--licensing-world=simulated", "--licensing-depth=smoke", "-k", "test_revocation_is_for_good or contended")
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--disable-plugin-autoload", "-p", "licensing_harness.plugin", *quick],
        cwd=tmp_path / "here",
        capture_output=True,
        text=True,
        check=False,
    )

    assert first.code == 0, first.err
    assert {str(path.relative_to(tmp_path / "here")) for path in before} == {
        "licensing_adapter.py",
        "test_licensing.py",
        "licensing-harness.toml",
        ".github/workflows/licensing.yml",
    }
    assert second.code == 4
    assert "already there; nothing was written" in second.err
    assert tested.returncode == 0, tested.stdout
    assert "licensing_adapter" not in tested.stderr
    assert before == {path: path.read_text() for path in before}


def test_a_target_that_does_not_answer_is_exit_12(command: Any) -> None:
    """Nobody listens there: 12, the URL and the way out, once."""
    done = command(
        "gate", "--target", "http://127.0.0.1:9", "--adapter", REFERENCE, LICENSING_SECRET_API_TOKEN="abcdef"
    )

    assert done.code == 12, done.out + done.err
    assert "http://127.0.0.1:9 does not answer" in done.out
    assert "Traceback" not in done.out + done.err


def test_a_host_that_is_not_ours_is_exit_13(command: Any) -> None:
    """A host that is not loopback needs --allow-host."""
    done = command("gate", "--target", "http://192.0.2.1", "--adapter", REFERENCE, LICENSING_SECRET_API_TOKEN="abcdef")

    assert done.code == 13, done.out + done.err
    assert "--licensing-allow-host 192.0.2.1" in " ".join(done.out.split())


def test_serve_says_where_it_is_and_ends_when_asked(tmp_path: Path, command: Any) -> None:
    """The first line is JSON with the address; a wrong token is exit 4; a taken port is one line; SIGTERM ends it."""
    serving = [sys.executable, "-m", "licensing_harness", "serve", "--db", str(tmp_path / "a" / "x.db")]
    with subprocess.Popen(
        [*serving, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            told = json.loads(server.stdout.readline())
            port = told["url"].rpartition(":")[2]
            taken = command("serve", "--port", port, "--db", str(tmp_path / "y.db"))
            wrong = command(
                "gate",
                *("--target", told["url"], "--adapter", REFERENCE, "--", "-k", "test_seats_contended and calm"),
                LICENSING_SECRET_API_TOKEN="not-the-token",
            )
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=20)

    assert server.returncode == 0
    assert taken.code != 0
    assert taken.err.count("\n") == 1
    assert port in taken.err
    assert wrong.code == 4, wrong.out + wrong.err
    assert "LICENSING_SECRET_API_TOKEN" in wrong.out
    assert "not-the-token" not in wrong.out + wrong.err


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_proxy_says_where_it_is_and_ends_when_asked(command: Any, asked: signal.Signals) -> None:
    """The first line is its address, a taken port is one line and exit 3, a signal ends it and its proxies with 0."""
    with subprocess.Popen(
        [sys.executable, "-m", "licensing_harness", "proxy", "--port", "0", "--seed", "7"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as proxy:
        try:
            assert proxy.stdout is not None
            url = proxy.stdout.readline().strip()
            port = int(url.removeprefix("http://127.0.0.1:"))
            with ToxiproxyClient("127.0.0.1", port) as client:
                assert client.version() == "2.12.0"
                made = client.create(name="licences", upstream=f"127.0.0.1:{port}")
                client.add_toxic("licences", name="slow", type="bandwidth", attributes={"rate": 0})
            through = socket.create_connection(("127.0.0.1", int(made.listen.rpartition(":")[2])), timeout=20)
            taken = command("proxy", "--port", str(port))
        finally:
            proxy.send_signal(asked)
            out, err = proxy.communicate(timeout=20)

    with through:
        assert through.recv(1) == b""
    assert (proxy.returncode, out, err) == (0, "", "")
    assert (taken.code, taken.out) == (3, "")
    assert taken.err == (
        f"ERROR: 127.0.0.1:{port} is in use: stop what listens there, or give another --port (0 takes any free one)\n"
    )
