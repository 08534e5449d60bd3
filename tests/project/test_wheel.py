"""What users install: the wheel and the source distribution, built here without the network and opened."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tracked(*folders: str) -> set[str]:
    """The files of these folders as they are on disk, without what Python and tools leave there."""
    return {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.endswith(".pyc")
    }


def build(source: Path, kind: str, where: Path) -> Path:
    result = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(where)],
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (made,) = where.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution."""
    return build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout."""
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


def names_in_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_only_the_two_packages_land_at_top_level(wheel: Path) -> None:
    """Installing puts licensing_harness, reference_server and the metadata into site-packages, nothing else."""
    tops = {name.split("/")[0] for name in names_in_wheel(wheel)}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"licensing_harness", "reference_server"}
    assert len(tops) == 3


def test_the_wheel_carries_every_scenario_inside_the_package(wheel: Path) -> None:
    """Users run the same scenario files as developers."""
    scenarios = {f"licensing_harness/{name}" for name in tracked("scenarios")}

    assert scenarios
    assert scenarios <= names_in_wheel(wheel)


def test_the_wheel_carries_every_file_of_both_packages(wheel: Path) -> None:
    """Modules, migrations, schemas and the type marker are all in."""
    names = names_in_wheel(wheel)

    assert tracked("licensing_harness", "reference_server") <= names
    assert "licensing_harness/py.typed" in names
    assert "reference_server/py.typed" in names
    assert any(name.startswith("reference_server/store/migrations/") for name in names)
    assert any(name.endswith("result.schema.json") for name in names)


def test_the_wheel_says_how_it_is_used(wheel: Path) -> None:
    """Metadata: the command, the plugin, the extras, the licence and the Python floor."""
    with zipfile.ZipFile(wheel) as archive:
        info = next(name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name)
        metadata = message_from_bytes(archive.read(f"{info}/METADATA"))
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        names = archive.namelist()

    assert metadata["Name"] == "licensing-harness"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra", [])) == {"server", "load", "fuzz", "all"}
    assert "licensing-harness = licensing_harness.cli:main" in entry_points
    assert "licensing_harness = licensing_harness.plugin" in entry_points
    assert f"{info}/licenses/LICENSE" in names


def test_the_source_distribution_has_what_a_packager_needs(sdist: Path) -> None:
    """Sources, scenarios, tests, docs and locks are in; nothing that a tool left behind is."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert tracked("licensing_harness", "reference_server", "scenarios", "requirements") <= names
    assert {"hatch_build.py", "pyproject.toml", "Makefile", "README.md", "LICENSE", "CHANGELOG.md"} <= names
    assert {"ARCHITECTURE.md", "CONTRIBUTING.md"} <= names
    assert any(name.startswith("tests/") for name in names)
    assert any(name.startswith("docs/") for name in names)
    assert not {name for name in names if "__pycache__" in name or ".venv" in name or "docs/_build" in name}


def test_a_wheel_built_from_the_source_distribution_is_the_same(
    sdist: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Packagers who build from the source distribution get the scenarios too."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()

    again = build(source, "wheel", tmp_path_factory.mktemp("again"))

    assert names_in_wheel(again) == names_in_wheel(wheel)
