"""The documentation tells the truth: examples are executed, commands exist, nothing is left undocumented.

A page is a session: its blocks run in order, in a directory of its own. ``python`` blocks with prompts are doctests;
``console`` blocks are typed into bash, one ``$`` line at a time, and what is printed is compared (``...`` matches
anything); a block with a file's name as its caption is written to that file. ``shell`` blocks are not run, for they
need a server of the reader's; that the commands and options in them exist is checked.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^(?P<fence>```+)(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
TIMEOUT = 240


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    caption: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in FENCE.finditer(text):
        info, body = found["info"].strip(), found["body"]
        directive = re.fullmatch(r"\{(?P<name>[\w-]+)\}\s*(?P<argument>.*)", info)
        options: dict[str, str] = {}
        if directive:
            while option := re.match(r":(?P<name>[\w-]+): *(?P<value>.*)\n", body):
                options[option["name"]] = option["value"]
                body = body[option.end() :]
            body = body.lstrip("\n")
            if directive["name"] == "literalinclude":
                body = (page.parent / directive["argument"]).read_text()
                info = options.get("language", "text")
            else:
                info = directive["argument"]
        yield Block(info, options.get("caption", ""), body, text.count("\n", 0, found.start()) + 1)


def runs(block: Block) -> bool:
    return block.language == "console" or (block.language == "python" and ">>> " in block.text)


EXECUTED = [page for page in PAGES if any(runs(block) for block in blocks(page))]


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LICENSING_", "PYTEST_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    return {**kept, "PATH": path, "COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb", "HOME": str(home)}


def type_in(block: Block, where: str, home: Path) -> None:
    """Run each ``$`` line of a console block and compare what it printed."""
    code = 0
    for typed in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, want = typed.partition("\n")
        result = subprocess.run(
            ["bash", "-c", f"(exit {code}); {command}"],
            env=environment(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
        code = result.returncode
        assert doctest.OutputChecker().check_output(want, result.stdout, FLAGS), (
            f"{where}: $ {command}\nexpected:\n{want}\ngot (exit {code}):\n{result.stdout}"
        )


@pytest.mark.parametrize("page", EXECUTED, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_do_what_the_page_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example of a page, run in the order of the page, prints what stands there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(page):
        where = f"{page.relative_to(ROOT)}:{block.line}"
        if block.caption:
            Path(block.caption).parent.mkdir(parents=True, exist_ok=True)
            # The fence ends every block with a line break; a file that was cut short has none.
            cut = block.language == "text"
            Path(block.caption).write_text(block.text.removesuffix("\n") if cut else block.text)
        if block.language == "console":
            type_in(block, where, tmp_path)
        elif runs(block):
            test = doctest.DocTestParser().get_doctest(block.text, names, where, where, block.line)
            said: list[str] = []
            doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=said.append, clear_globs=False)
            assert not said, "".join(said)
            names = test.globs


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_data_in_a_page_can_be_read(page: Path) -> None:
    """TOML and JSON in the documentation are TOML and JSON, and Python compiles."""
    for block in blocks(page):
        if block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "python" and ">>> " not in block.text:
            compile(block.text, str(page), "exec", dont_inherit=True)


def commands() -> dict[str, set[str]]:
    """Each command of the command line with its options, as Typer knows them."""
    import typer.main

    from licensing_harness.cli import app

    group = typer.main.get_command(app)
    return {
        name: {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }


def typed_commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    for block in blocks(page):
        if block.language not in {"console", "shell", "yaml"}:
            continue
        text = block.text.replace("\\\n", " ")
        for line in text.splitlines():
            for found in re.finditer(r"(?:^|[\s/$])(licensing-harness|make) ([a-z]+)([^|;&\n]*)", line):
                yield f"{found[1]} {found[2]}", re.findall(r"(?<=\s)--[a-z][a-z-]*", found[3].split(" -- ")[0])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_a_page_exist(page: Path) -> None:
    """No page names a command, an option or a make target that there is none of."""
    known = commands()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for command, options in typed_commands(page):
        program, name = command.split()
        if program == "make":
            assert name in targets, command
        else:
            assert name in known, command
            unknown = set(options) - known[name] - {"--help"}
            assert not unknown or name == "serve", (command, unknown)


def test_every_page_is_reachable() -> None:
    """Each page of the documentation stands in the index."""
    index = (ROOT / "docs" / "index.md").read_text()
    listed = set(re.findall(r"^((?:tutorial|how-to|reference|explanation)/[\w-]+)$", index, flags=re.MULTILINE))
    pages = {str(page.relative_to(ROOT / "docs").with_suffix("")) for page in (ROOT / "docs").rglob("*.md")}

    assert listed == pages - {"index"}


def test_every_command_is_documented() -> None:
    """Each command of the command line is named in the README or in the documentation."""
    text = "\n".join(page.read_text() for page in PAGES)

    assert [name for name in commands() if f"licensing-harness {name}" not in text] == []


def test_the_readme_shows_the_adapter_of_the_documentation() -> None:
    """The adapter is one file; the README repeats it, and it has about thirty lines."""
    adapter = (ROOT / "docs" / "how-to" / "lockbox_adapter.py").read_text()

    assert adapter in [block.text for block in blocks(ROOT / "README.md")]
    assert len([line for line in adapter.splitlines() if line.strip()]) <= 32


def test_every_exit_code_has_a_meaning_in_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table of exit codes covers them all, worst first."""
    monkeypatch.syspath_prepend(ROOT / "docs" / "_ext")
    import from_code

    from licensing_harness.verdict import Exit

    rows = from_code.exit_codes().splitlines()[2:]

    assert {int(row.split("`")[1]) for row in rows} == {int(code) for code in Exit}
    assert rows[0].startswith("| `14`")
    assert rows[-1].startswith("| `0`")


def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    """Sphinx, with warnings as errors: no dead reference, no page out of the index."""
    result = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", ROOT / "docs", tmp_path / "html"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert "SEA-001" in (tmp_path / "html" / "reference" / "promises.html").read_text()


def test_the_runner_sees_a_wrong_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An example that prints something else turns its page red."""
    monkeypatch.chdir(tmp_path)
    block = Block("console", "", "$ echo one\ntwo\n", 1)

    with pytest.raises(AssertionError, match="echo one"):
        type_in(block, "here", tmp_path)
