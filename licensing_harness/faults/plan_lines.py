"""Where the tables of a TOML document and their keys stand: tomllib does not say.

The document was already read by tomllib, so it is TOML; this only walks over
it. What it can't tell (a table in an inline array, say) it leaves out.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import Final

_STRING: Final = re.compile(
    r"""
    ["]{3} (?: [^"\\] | \\. | ["](?!["]{2}) )* ["]{3,5}
    | [']{3} (?: [^'] | ['](?![']{2}) )* [']{3,5}
    | ["] (?: [^"\\\n] | \\. )* ["]
    | ['] [^'\n]* [']
    """,
    re.DOTALL | re.VERBOSE,
)
_KEY: Final = re.compile(r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[ \t]*\.[ \t]*)+""")


@dataclass(slots=True)
class TableLines:
    """The line of a table's header and the line of each of its keys, from 1."""

    line: int
    keys: dict[str, int] = field(default_factory=dict)


def table_lines(source: str, name: str, *, single: bool = False) -> list[TableLines]:
    """The lines of every ``[[name]]`` table of a document that tomllib has read.

    With ``single``, of the one ``[name]`` table, or of the top when ``name`` is
    empty: there, a table below stands as a key on the line of its first header.
    """
    text = source.replace("\r\n", "\n")
    current: TableLines | None = None if name else TableLines(1)
    top = current
    found: list[TableLines] = [current] if current is not None else []
    position = 0
    while position < len(text):
        start = position
        if text[start] in " \t\n":
            position += 1
            continue
        if text[start] == "#":
            position = _end_of_line(text, start)
            continue
        line = text.count("\n", 0, start) + 1
        if text[start] == "[":
            doubled = text.startswith("[[", start)
            key = _KEY.match(text, _skip_blanks(text, start + 1 + doubled))
            path = _parts(key[0]) if key else []
            if top is not None and path:
                top.keys.setdefault(path[0], line)
            if name and doubled != single and path == [name]:
                current = TableLines(line)
                found.append(current)
            elif name and current is not None and len(path) > 1 and path[0] == name:
                current.keys.setdefault(path[1], line)
                current = TableLines(line)  # keys of a table below belong to that one
            else:
                current = None
            position = _end_of_line(text, key.end() if key else start)
        else:
            key = _KEY.match(text, start)
            if key is None:
                return []
            if current is not None and (path := _parts(key[0])):
                current.keys.setdefault(path[0], line)
            position = _end_of_value(text, key.end())
    return found


def _parts(key: str) -> list[str]:
    """A dotted key as its parts, unquoted."""
    try:
        table = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return []
    parts: list[str] = []
    node: object = table
    while isinstance(node, dict):
        part = next(iter(node))
        parts.append(part)
        node = node[part]
    return parts


def _skip_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t":
        position += 1
    return position


def _end_of_line(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _end_of_value(text: str, position: int) -> int:
    """The end of the line on which a value ends: strings, comments and brackets are walked over."""
    depth = 0
    while position < len(text):
        character = text[position]
        if character in "\"'":
            string = _STRING.match(text, position)
            if string is None:
                return len(text)
            position = string.end()
            continue
        if character == "#":
            position = _end_of_line(text, position)
            continue
        if character == "\n" and depth == 0:
            return position
        depth += (character in "[{") - (character in "]}")
        position += 1
    return position
