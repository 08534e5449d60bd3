"""The published table of conformance counts what is tried, and nothing is tried on one server alone."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    import conformance

    found: list[dict[str, str]] = conformance.cases()
    return found


def test_every_case_runs_on_both_servers(cases: list[dict[str, str]]) -> None:
    """Each test has as many cases on Toxiproxy as on the embedded server, 124 and more in all."""
    both = [each for each in cases if each["module"] != "test_divergences.py"]
    servers = ("embedded", "toxiproxy")
    by_server = {server: sorted(each["test"] for each in both if each["server"] == server) for server in servers}
    assert by_server["embedded"] == by_server["toxiproxy"]
    assert len(by_server["embedded"]) >= 124
    assert {each["module"] for each in both} == {
        path.name for path in Path(__file__).parent.glob("test_conformance_*.py") if path != Path(__file__)
    }


def test_every_divergence_is_tried(cases: list[dict[str, str]]) -> None:
    """No crash, a seed, changes that are whole, loopback; each says what it is."""
    tried = {each["test"]: each["says"] for each in cases if each["module"] == "test_divergences.py"}
    assert {
        "test_a_toxic_that_would_crash_toxiproxy_is_refused",
        "test_toxicity_has_a_seed",
        "test_a_failed_change_changes_nothing",
        "test_an_empty_listen_is_loopback",
    } <= tried.keys()
    assert all(tried.values())


def test_the_table_names_every_case(cases: list[dict[str, str]]) -> None:
    """What is published is what was collected."""
    import from_code

    text = from_code.conformance()
    for case in cases:
        if case["module"] != "test_divergences.py":
            assert case["says"].replace("|", r"\|") in text
    total = sum(each["server"] == "toxiproxy" for each in cases if each["module"] != "test_divergences.py")
    assert text.endswith(f"| **all** | {total} | {total} |")
