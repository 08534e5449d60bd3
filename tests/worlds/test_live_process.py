"""Starting, killing and stopping a target's process."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.request
from pathlib import Path
from typing import Any

import jwt
import pytest
import toy_live
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from licensing_harness.clock import RealClock
from licensing_harness.errors import CleanUpIncomplete, HarnessError, TargetNotReady, UsageError
from licensing_harness.masking import Masker
from licensing_harness.worlds.process import SERVER_EXTRA, ReferenceProcess, TargetProcess, reference_command

CLOCK = RealClock()


def toy(tmp_path: Path, **more: Any) -> TargetProcess:
    command = [sys.executable, toy_live.__file__, "--port", "{port}", "--log", str(tmp_path / "log")]
    return TargetProcess(command, **more)


def script(text: str, **more: Any) -> TargetProcess:
    return TargetProcess([sys.executable, "-c", text], **more)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False


def gone(pid: int) -> bool:
    """Whether there is no such process; a zombie would still be there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_it_starts_and_stops(tmp_path: Path) -> None:
    """The first line gives url and secrets; after the context neither process nor directory is left."""
    with toy(tmp_path) as process:
        pid = process.pid
        assert process.alive
        assert answers(process.url)
        assert process.secrets == {"api_token": toy_live.TOKEN}
        process.start()
        assert process.pid == pid
    assert gone(pid)
    assert not process.directory.exists()


def test_a_restart_keeps_the_port_and_the_data(tmp_path: Path) -> None:
    """SIGKILL and start: another process, the same address, the same log."""
    with toy(tmp_path) as process:
        before, url = process.pid, process.url
        process.restart()
        assert process.url == url
        assert process.pid != before
        assert gone(before)
        assert answers(url)


def test_what_it_started_dies_with_it(tmp_path: Path) -> None:
    """A kill reaches the whole process group."""
    mark = tmp_path / "child"
    text = (
        "import json, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(mark)!r}, 'w').write(str(child.pid))\n"
        "print(json.dumps({'url': 'http://127.0.0.1:1'}), flush=True)\n"
        "time.sleep(60)\n"
    )
    with script(text) as process:
        child = int(mark.read_text())
        process.kill()
        deadline = CLOCK.now() + 10
        while not _dead(child) and CLOCK.now() < deadline:
            CLOCK.sleep(0.01)
        assert _dead(child)


def _dead(pid: int) -> bool:
    """Gone, or a zombie that whoever adopted it has not reaped yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return gone(pid)


def test_sigterm_drains(tmp_path: Path) -> None:
    """A process that obeys SIGTERM ends by itself; one that does not is killed, and it is said so."""
    ready = "print(json.dumps({'url': 'http://127.0.0.1:1'}), flush=True)\n"
    polite = script(f"import json, time\n{ready}time.sleep(60)")
    deaf = script(
        f"import json, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{ready}time.sleep(60)", drain=0.2
    )
    with polite, deaf:
        pids = polite.pid, deaf.pid
        assert polite.stop() is True
        assert deaf.stop() is False
        assert polite.stop() is True
    assert all(gone(pid) for pid in pids)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import sys; sys.exit('port 1 is taken')", r"ended with exit code 1 before it was ready; it said: port 1 is"),
        ("print('hello')", r"first line is not JSON with a url: 'hello'"),
        ("print('[1]')", r"first line is not JSON with a url"),
        ("import time; time.sleep(60)", r"was not ready within 0.3 s"),
        ("1/0", r"ZeroDivisionError: division by zero"),
    ],
)
def test_a_target_that_does_not_come_up(text: str, says: str) -> None:
    """It is not ready (exit code 12), with its last words; nothing is left."""
    process = script(text, patience=0.3 if "sleep" in text else 20)
    with pytest.raises(TargetNotReady, match=says), process:
        pass
    assert not process.alive
    assert not process.directory.exists()


def test_a_program_that_is_not_there() -> None:
    """A command that can't be started is told by its name."""
    missing = TargetProcess(["/no/such/program"])
    with pytest.raises(TargetNotReady, match=r"/no/such/program can't be started: No such file"), missing:
        pass


@pytest.mark.parametrize("code", [2, 4])
def test_a_wrong_call_is_a_usage_error(code: int) -> None:
    """A program that says it was called wrongly makes exit code 4, not 12."""
    text = f"import sys; sys.stderr.write('unknown defect: x\\n'); sys.exit({code})"
    with pytest.raises(UsageError, match="it said: unknown defect: x"), script(text):
        pass


def test_a_missing_server_extra_says_how_to_install_it() -> None:
    """Without the extra the error is the pip line, exit code 4."""
    bare = script("raise ModuleNotFoundError(\"No module named 'starlette'\")")
    with pytest.raises(UsageError, match=r"pip install 'licensing-harness\[server\]'") as caught, bare:
        pass
    assert (str(caught.value), caught.value.exit_code) == (SERVER_EXTRA, 4)


def test_last_words_are_masked() -> None:
    """A secret in a target's stderr is not in our error."""
    masker = Masker()
    masker.register("toy-api-token")
    text = "import sys; sys.exit('bad token toy-api-token')"
    with pytest.raises(TargetNotReady, match=r"bad token \[masked:") as caught, script(text, masker=masker):
        pass
    assert "toy-api-token" not in str(caught.value)


def test_a_target_that_moves_is_an_error(tmp_path: Path) -> None:
    """A restart on another address would leave every client behind."""
    text = (
        "import json, os, time\n"
        f"open({str(tmp_path / 'runs')!r}, 'a').write('x')\n"
        f"n = os.path.getsize({str(tmp_path / 'runs')!r})\n"
        "print(json.dumps({'url': f'http://127.0.0.1:{n}'}), flush=True)\n"
        "time.sleep(60)\n"
    )
    with script(text) as process, pytest.raises(HarnessError, match=r"came back at http://127\.0\.0\.1:2 instead"):
        process.restart()
    assert not process.alive


def test_one_that_is_kept_lives_on(tmp_path: Path) -> None:
    """With ``keep`` the process and its directory outlive the harness."""
    process = toy(tmp_path, keep=True)
    with process:
        pid = process.pid
    try:
        assert answers(process.url)
        assert process.directory.exists()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        process.keep = False
        process.close()
    assert not process.directory.exists()


def test_a_directory_that_stays_is_an_incomplete_clean_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be removed is told: exit code 14."""
    process = toy(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        with pytest.raises(CleanUpIncomplete, match="could not be removed"):
            process.close()
    process.close()


def test_an_interrupt_cleans_up(tmp_path: Path) -> None:
    """Ctrl-C inside the context ends the process; at exit the last resort does."""
    process = toy(tmp_path)
    seen: list[int] = []

    def interrupted() -> None:
        with process:
            seen.append(process.pid)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert gone(seen[0])
    other = toy(tmp_path)
    other.start()
    pid = other.pid
    other._at_exit()
    assert gone(pid)
    other.close()


def test_the_reference_servers_command() -> None:
    """Lease and token lifetime are those of the adapter's contract; a defect is passed on."""
    command = reference_command("python", "a.db", "k.pem", defect="seats-race")
    assert command == [
        "python", "-m", "reference_server", "--host", "127.0.0.1", "--port", "{port}", "--db", "a.db",
        "--keys", "k.pem", "--lease", "2", "--token-lifetime", "3", "--test-clock", "--defect", "seats-race",
    ]  # fmt: skip


def test_it_signs_with_the_servers_own_key() -> None:
    """What it signs verifies under the key in the server's file, whatever the header says."""
    process = ReferenceProcess()
    key = Ed25519PrivateKey.generate()
    process.keys.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    token = process.signer()({"alg": "EdDSA", "typ": "x", "kid": "k"}, {"sub": "L", "exp": "not a number"})
    header, claims, _ = token.split(".")
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    decoded = jwt.api_jws.PyJWS().decode(token, public.decode(), algorithms=["EdDSA"])
    assert json.loads(decoded) == {"sub": "L", "exp": "not a number"}
    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "typ": "x", "kid": "k"}
    assert header
    assert claims
    process.close()
