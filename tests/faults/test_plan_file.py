"""Plans in TOML: read back to what was written, refused with file, line and key, and the schema agrees."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from plans import EXAMPLES, plans
from test_plan import PLACES, REFUSED

from licensing_harness.faults.plan import Plan, PlanError, PlannedFault
from licensing_harness.faults.plan_file import SCHEMA_FILE, Places, parse_plan, read_faults, read_plan
from licensing_harness.faults.plan_lines import table_lines
from licensing_harness.faults.plan_schema import plan_schema

SMALL = """\
# [[fault]] in a comment is none
[[fault]]
kind = "latency"     # kind = "other"
link = "laptop->server"
start = 0
end = 10
latency = 200

[[fault]]
kind = "rolling-restart"
nodes = [
  "one",  # ] and "
  "two",
]
at = 3
gap = 2
"""


def toml(plan: Plan) -> str:
    """The plan as a TOML document; JSON's texts, numbers and lists are TOML's too."""
    lines: list[str] = []
    for fault in plan.faults:
        lines += ["[[fault]]", *(f"{name} = {json.dumps(value)}" for name, value in fault.as_table().items())]
    return "\n".join(lines)


def refused(source: str, **more: Any) -> str:
    with pytest.raises(PlanError) as caught:
        parse_plan(source, name="plan.toml", **more)
    assert caught.value.exit_code == 4
    return str(caught.value)


@settings(max_examples=60)
@given(made=plans())
def test_a_plan_survives_being_written_and_read(made: Plan) -> None:
    """Nothing of a plan is lost on its way through a file."""
    assert parse_plan(toml(made), name="plan.toml") == made


def test_a_plan_is_read_from_a_file(tmp_path: Path) -> None:
    """The file's name, not its path, stands in its errors."""
    path = tmp_path / "plan.toml"
    path.write_text(SMALL)

    assert [fault.kind for fault in read_plan(path).faults] == ["latency", "rolling-restart"]

    path.write_text(SMALL.replace("gap", "gab"))
    with pytest.raises(PlanError, match=r"^plan\.toml:16: unknown key 'gab'; did you mean 'gap'\?"):
        read_plan(path)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path, content: bytes | None) -> None:
    """Missing, or not UTF-8: said with the path."""
    path = tmp_path / "plan.toml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(PlanError, match=r"plan\.toml: can't be read"):
        read_plan(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("latency = 200", "latncy = 200", "plan.toml:7: unknown key 'latncy'; did you mean 'latency'? (latency)"),
        ('"latency"  ', '"latancy"  ', "plan.toml:3: unknown kind 'latancy'; did you mean 'latency'?"),
        ("start = 0", "start = nan", "plan.toml:5: start: nan is not finite; give a number of seconds"),
        ("end = 10", "end = -1", "plan.toml:6: end: -1 is too small; give 0 or more"),
        ("end = 10", "end = 0", "plan.toml:6: end: 0 is not after the start, 0"),
        ("end = 10", "end = 10\nat = 1", "plan.toml:7: latency takes no 'at'"),
        ('"two"', "2", "plan.toml:11: nodes: expected a list of names, got ['one', 2]"),
        ("gap = 2", "gap = 1979-05-27", "plan.toml:16: gap: expected a number of seconds, got datetime.date"),
        ("gap = 2", "gap.x = 2", "plan.toml:16: gap: expected a number of seconds, got {'x': 2}"),
        ("gap = 2", "[fault.gap]\nx = 2", "plan.toml:16: gap: expected a number of seconds, got {'x': 2}"),
        ("gap = 2", "", "plan.toml:10: rolling-restart needs 'gap', a number of seconds"),
        ('kind = "latency"  ', "", "plan.toml:2: a fault needs a 'kind'"),
        ("gap = 2", "= 2", "plan.toml:16: not TOML: Invalid statement"),
        ("gap = 2", "gap = [", "plan.toml"),
        (SMALL, "", "plan.toml: the plan is empty; give at least one [[fault]] table"),
        (SMALL, "fault = []", "plan.toml: the plan is empty"),
        (SMALL, "fault = 3", "plan.toml: fault: expected [[fault]] tables, got 3"),
        (SMALL, "[fault]\nkind = 'latency'", "plan.toml: fault: expected [[fault]] tables, got {'kind': 'latency'}"),
        (SMALL, "[[faults]]\nkind = 'x'", "plan.toml: unknown table 'faults'; did you mean 'fault'?; a plan has"),
    ],
)
def test_a_mistake_is_named_by_file_line_and_key(old: str, new: str, message: str) -> None:
    """One line says where, what, and the way out."""
    assert old in SMALL

    said = refused(SMALL.replace(old, new))

    assert said.startswith(message)
    assert "\n" not in said


def test_an_overlap_is_named_by_the_later_table() -> None:
    """The line is that of the start of the table that came second, and the first has its number."""
    said = refused(SMALL + SMALL.replace("start = 0", "start = 9").replace("end = 10", "end = 12"))

    assert said == ("plan.toml:21: latency on laptop->server overlaps fault 1, 0 to 10 s; move one of the two")


def test_a_place_that_there_is_none_of_is_named_by_its_line() -> None:
    """Places are checked where they are given; without them any name will do."""
    places = Places(links=PLACES["links"], nodes=["one", "too"])

    assert refused(SMALL, places=places) == "plan.toml:11: unknown node 'two'; did you mean 'too'?"
    assert len(parse_plan(SMALL, name="plan.toml", places=Places(links=PLACES["links"], nodes=["one", "two"])).faults)


def test_faults_among_other_tables_are_read_with_their_lines() -> None:
    """The reader takes the list of a document that somebody else has read, and the document's text."""
    source = f'[target]\nurl = "http://127.0.0.1"\n\n{SMALL}\n[stop]\ngap = "?"\n'
    tables = tomllib.loads(source)["fault"]

    assert len(read_faults(tables, name="drill.toml", source=source).faults) == 2

    tables[1]["gap"] = "?"
    with pytest.raises(PlanError, match=r"^drill\.toml:19: gap: expected a number"):
        read_faults(tables, name="drill.toml", source=source)
    with pytest.raises(PlanError, match=r"^drill\.toml: fault 2: gap: expected a number"):
        read_faults(tables, name="drill.toml")


def test_where_the_line_cannot_be_told_the_table_is_numbered() -> None:
    """Tables in an inline array have no header to find."""
    said = refused('fault = [\n  {kind = "pause", node = "a", start = 1, end = 2},\n  {kind = "pause", node = 1},\n]')

    assert said == "plan.toml: fault 2: node: expected a text, got 1"


def test_a_text_that_is_not_the_tables_own_misleads_nobody() -> None:
    """Where the text has other tables than there are, no line is named."""
    tables = tomllib.loads(SMALL + SMALL.replace("gap", "gab"))["fault"]

    with pytest.raises(PlanError, match=r"^drill\.toml: fault 4: unknown key 'gab'"):
        read_faults(tables, name="drill.toml", source=SMALL)


# Lines

STRANGE = [
    "# [[fault]]",
    "a = '[[fault]]'",
    'b = "[[fault]] # \\" no comment"',
    'c = """\n[[fault]]\nkind = 1\n\\""" ""\n"""',
    "d = '''\n[[fault]]\n'''",
    'e = [\n[1, 2], # ]\n"]",\n]',
    "f = { x = '}', y = [1] } # }",
    'g = """ends with two"""""',
    'q = """ends with one""""',
    "r = '''ends with one''''",
    "h = ''''one' and ''two'''''",
    "'i # i'.j = 1",
    '"k = \\" k" = 1',
    "l . m = 1979-05-27T07:32:00Z",
    "n = ''",
    'o = ""',
    'p = """"""',
    "",
    "  \t",
]


@settings(max_examples=200)
@given(
    parts=st.lists(st.lists(st.sampled_from(STRANGE), unique=True, max_size=6), min_size=1, max_size=4), data=st.data()
)
def test_tables_and_keys_are_found_among_whatever_toml_has(parts: list[list[str]], data: st.DataObject) -> None:
    """Comments, strings over several lines, arrays and strange keys mislead nobody."""
    lines: list[str] = []
    expected: list[tuple[int, int]] = []
    for part in parts:
        header = data.draw(st.sampled_from(["[[fault]]", "  [[ fault ]] # x", '[["fault"]]', "[['fault']]"]))
        lines += ["[[other]]", "kind = 1", "[other.fault]", "kind = 1", header]
        at = len(lines)
        for each in part:
            lines += each.split("\n")
        lines.append('kind = "x"')
        expected.append((at, len(lines)))
    source = data.draw(st.sampled_from(["\n", "\r\n"])).join(lines)
    assert len(tomllib.loads(source)["fault"]) == len(parts)

    found = table_lines(source, "fault")

    assert [(table.line, table.keys["kind"]) for table in found] == expected


def test_keys_are_found_under_their_own_names() -> None:
    """A quoted key is its text, a dotted one its first part, and a table below belongs to its fault."""
    source = "[[fault]]\n'a b' = 1\n\"c\\u0041\" = 2\nd . e = 3\nd.f = 4\n[fault.g]\nh = 5\n[other]\ni = 6\n"

    (table,) = table_lines(source, "fault")

    assert table.keys == {"a b": 2, "cA": 3, "d": 4, "g": 6}


def test_keys_of_other_tables_are_not_the_faults() -> None:
    """A table ends where another begins, and only tables of an array are counted."""
    (table,) = table_lines("[[fault]]\na = 1\n[other]\nb = 2\n", "fault")

    assert table.keys == {"a": 2}
    assert table_lines("[fault]\na = 1\n", "fault") == []


# Schema


SCHEMA = Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))
DEFS = SCHEMA.schema["$defs"]


def schema_takes(tables: list[Any]) -> bool:
    return bool(SCHEMA.is_valid({"fault": tables}))


def test_the_schema_in_the_package_is_made_from_the_table_of_kinds() -> None:
    """It is a valid schema, and nobody changed one without the other."""
    assert plan_schema() == SCHEMA.schema
    Draft202012Validator.check_schema(SCHEMA.schema)


@pytest.mark.parametrize("table", EXAMPLES, ids=lambda table: table["kind"])
def test_the_schema_takes_what_the_reader_takes(table: dict[str, Any]) -> None:
    """Each kind's example, as it was typed and as it is written back."""
    assert schema_takes([table])
    assert schema_takes([PlannedFault.of(table).as_table()])


@pytest.mark.parametrize("table", EXAMPLES, ids=lambda table: table["kind"])
def test_the_schema_and_the_reader_refuse_the_same_changes(table: dict[str, Any]) -> None:
    """Of an example with one key less, or one value wrong, they say the same."""
    changed = [{name: value for name, value in table.items() if name != left_out} for left_out in table]
    wrong: list[Any] = ["", "x", "a->b", True, -1, 0, 0.5, 1, 1.0, 200, 10**12, [], ["a"], ["a", "a"], {}]
    changed += [{**table, name: value} for name in (*table, "at", "stream", "first", "zzz") for value in wrong]
    said = {mistake(each) == "" for each in changed}

    alone = Draft202012Validator(
        {**next(each for each in DEFS["fault"]["oneOf"] if of_kind(each, table)), "$defs": DEFS}
    )

    assert said == {True, False}
    assert [each for each in changed if not beyond(mistake(each)) and alone.is_valid(each) != (not mistake(each))] == []


def of_kind(schema: dict[str, Any], table: dict[str, Any]) -> bool:
    return bool(schema["properties"]["kind"]["const"] == table["kind"])


def mistake(table: dict[str, Any]) -> str:
    try:
        PlannedFault.of(table)
    except PlanError as error:
        return str(error)
    return ""


def beyond(said: str) -> bool:
    return BEYOND.search(said) is not None


BEYOND = re.compile(
    "is not after the start|not less than the fault|than average_size|less than the gap|is longer than the fault"
    "|makes more than|the time that the link is up|is not finite"
)
"""What a schema can't say: it compares no two numbers."""


@pytest.mark.parametrize("table", [table for table, _, message in REFUSED if not BEYOND.search(message)])
def test_the_schema_refuses_what_the_reader_refuses(table: dict[str, Any]) -> None:
    """Every mistake within one table that a schema can see, it sees."""
    assert not schema_takes([table])


def test_the_schema_refuses_an_empty_plan() -> None:
    """A plan has at least one fault, and nothing else."""
    assert not schema_takes([])
    assert not SCHEMA.is_valid({})
    assert not SCHEMA.is_valid({"fault": [EXAMPLES[0]], "load": {}})
