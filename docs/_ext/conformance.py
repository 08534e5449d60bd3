"""The cases that the embedded fault proxy and a real Toxiproxy are both shown by, as pytest collects them.

``python docs/_ext/conformance.py FILE`` writes them to FILE as JSON: a list of
``{"module", "subject", "test", "says", "server"}``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = "tests/faults"
FILES: Final = ("test_conformance_api.py", "test_conformance_shape.py", "test_conformance_life.py")
DIVERGENCES: Final = "test_divergences.py"
SERVERS: Final = ("embedded", "toxiproxy")


class Listing:
    """A pytest plugin that keeps what was collected."""

    def __init__(self) -> None:
        self.cases: list[dict[str, str]] = []

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Every test, with the server that it runs against."""
        for item in items:
            given = item.callspec.params.get("fault_server", "") if hasattr(item, "callspec") else ""
            self.cases.append(
                {
                    "module": item.path.name,
                    "subject": _first_line(item.module),
                    "test": item.originalname,
                    "says": _first_line(item.function),
                    "server": given or SERVERS[0],
                }
            )


def _first_line(described: Any) -> str:
    return str(described.__doc__ or "").strip().partition("\n")[0]


def cases() -> list[dict[str, str]]:
    """All cases, from a process of its own. Raises RuntimeError when they can't be collected."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "cases.json"
        command = [sys.executable, __file__, str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)  # noqa: S603 - ourselves
        if done.returncode:
            raise RuntimeError(f"the conformance cases can't be collected: {done.stdout}{done.stderr}")
        found: list[dict[str, str]] = json.loads(out.read_text())
        return found


def rows(files: tuple[str, ...]) -> list[tuple[str, str, dict[str, int]]]:
    """By test of these files: subject, what it says, and how many cases each server has."""
    found: dict[tuple[str, str], tuple[str, str, dict[str, int]]] = {}
    for case in sorted(cases(), key=lambda each: files.index(each["module"]) if each["module"] in files else -1):
        if case["module"] in files:
            new = (case["subject"], case["says"], dict.fromkeys(SERVERS, 0))
            found.setdefault((case["module"], case["test"]), new)[2][case["server"]] += 1
    return list(found.values())


if __name__ == "__main__":
    import pytest

    listing = Listing()
    paths = [f"{FOLDER}/{name}" for name in (*FILES, DIVERGENCES)]
    code = pytest.main(["--collect-only", "-qq", "-p", "no:cacheprovider", *paths], plugins=[listing])
    Path(sys.argv[1]).write_text(json.dumps(listing.cases))
    sys.exit(int(code))
