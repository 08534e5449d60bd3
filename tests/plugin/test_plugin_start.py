"""The plugin's start: what a user pays who has the harness installed and does not use it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = ("asyncio", "hypothesis", "rich", "typer", "http.server", "urllib.request", "msgspec", "httpx2", "cryptography")
"""Modules that cost more than the whole plugin may."""

_LOOK = f"""
import sys
import pytest
before = set(sys.modules)
import licensing_harness.plugin
new = set(sys.modules) - before
print(sorted(set({HEAVY!r}) & set(sys.modules)), sorted(name for name in new if name.startswith("licensing_harness")))
"""


def test_the_plugin_imports_nothing_heavy() -> None:
    """Importing the plugin brings the standard library's light part, pytest, and the table of options."""
    done = subprocess.run([sys.executable, "-c", _LOOK], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[] ['licensing_harness', 'licensing_harness.options', 'licensing_harness.plugin']"


def test_a_run_without_our_tests_wakes_nothing(tmp_path: Path) -> None:
    """A suite that does not use us runs to its end with nothing of ours imported but plugin and options."""
    (tmp_path / "test_theirs.py").write_text("def test_theirs():\n    assert True\n")
    (tmp_path / "conftest.py").write_text(
        "import sys\n"
        "def pytest_unconfigure():\n"
        "    print('OURS', sorted(name for name in sys.modules if name.startswith('licensing_harness.')))\n"
        "    print('HEAVY', 'hypothesis' in sys.modules, 'msgspec' in sys.modules)\n"
    )

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "--disable-plugin-autoload", "-p", "licensing_harness.plugin"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0
    assert "OURS ['licensing_harness.options', 'licensing_harness.plugin']" in done.stdout
    assert "HEAVY False False" in done.stdout
    assert not (tmp_path / ".licensing").exists()
