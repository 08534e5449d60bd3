"""Reference tables written by the code they describe, so that they can't fall behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(str(cell).replace("|", r"\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def options() -> str:
    """Every option by each of its names."""
    from licensing_harness.options import OPTIONS

    return table(
        ["command line", "pytest", "environment", "default", "what it does"],
        [
            [
                f"`--{option.name}{' ' + option.metavar if option.metavar else ''}`",
                f"`{option.flag}`",
                f"`{option.env}`",
                f"`{option.default}`" if option.default not in (None, (), False) else "",
                option.help,
            ]
            for option in OPTIONS
        ],
    )


def promises() -> str:
    """Every promise by family, with what it needs and what proves that it was tried."""
    from licensing_harness.checkers.judge import ALL_PROMISES

    return table(
        ["id", "promise", "needs", "undecided without"],
        [
            [
                f"`{each.id}`",
                each.sentence,
                ", ".join([*(f"`{cap.value}`" for cap in sorted(each.needs)), *(f"`{n}=`" for n in each.numbers)]),
                each.control,
            ]
            for each in ALL_PROMISES
        ],
    )


def capabilities() -> str:
    """Every capability and its methods."""
    from licensing_harness.vocabulary import METHODS, Cap

    return table(
        ["capability", "adapter methods"],
        [
            [f"`Cap.{cap.name}` (`{cap.value}`)", ", ".join(f"`{method}`" for method in METHODS.get(cap, ())) or "none"]
            for cap in Cap
        ],
    )


def reasons() -> str:
    """The reasons that checkers understand."""
    from licensing_harness.vocabulary import Reason

    return ", ".join(f"`{reason.value}`" for reason in Reason)


def fault_kinds() -> str:
    """Every kind of fault that a plan may have, with its keys and where it is possible."""
    from licensing_harness.faults.plan_kinds import KINDS, WORLDS, Kind, why_not

    times = {"at": "`at`", "during": "`start`, `end`", "either": "`at`, or `start`, `end`"}

    def numbers(kind: Kind) -> Iterable[str]:
        for name, each in kind.parameters.items():
            unit = "one of " + ", ".join(map(str, each.choices)) if each.choices else each.unit
            default = (
                f"; {each.default:g}" if each.default is not None else "" if each.required else "; may be left out"
            )
            yield f"`{name}` ({unit}{default})"

    return table(
        ["kind", "what happens", "place and time", "numbers, with their defaults", "worlds"],
        [
            [
                f"`{name}`",
                kind.does,
                f"`{kind.where}`{', `stream`' if kind.stream else ''}; {times[kind.when]}",
                ", ".join(numbers(kind)),
                ", ".join(world for world in WORLDS if not why_not(name, world)),
            ]
            for name, kind in KINDS.items()
        ],
    )


def extension_toxics() -> str:
    """The embedded proxy's extension toxics, by the kind of fault that each does."""
    from licensing_harness.faults.call_faults import CALL_ATTRIBUTES
    from licensing_harness.faults.plan_kinds import KINDS
    from licensing_harness.worlds.live_calls import CALLS

    units = {"age": " in ms", "delay": " in ms", "retry_after": " in s"}
    return table(
        ["type", "attributes", "what it does"],
        [
            [
                f"`{name}`",
                ", ".join(f"`{each}`{units.get(each, '')}" for each in CALL_ATTRIBUTES[name]),
                KINDS[kind.value].does,
            ]
            for kind, name in CALLS.items()
        ],
    )


def conformance() -> str:
    """What is tried on the embedded proxy and on a real Toxiproxy, and how many cases each has."""
    from conformance import FILES, rows

    found = rows(FILES)
    total = [sum(counts[server] for _, _, counts in found) for server in ("embedded", "toxiproxy")]
    shown = [[says, counts["embedded"], counts["toxiproxy"]] for _, says, counts in found]
    return table(["what a client sees", "embedded", "Toxiproxy"], [*shown, ["**all**", *total]])


def divergences() -> str:
    """What differs on purpose, and how many cases show it."""
    from conformance import DIVERGENCES, rows

    found = rows((DIVERGENCES,))
    return table(
        ["where it differs", "embedded", "Toxiproxy"],
        [[says, counts["embedded"], counts["toxiproxy"] or ""] for _, says, counts in found],
    )


def fault_reasons() -> str:
    """Why a world can't do what it can't."""
    from licensing_harness.faults.plan_kinds import KINDS, WORLDS, why_not

    reasons: dict[tuple[str, str], list[str]] = {}
    for world in WORLDS:
        for name in KINDS:
            if reason := why_not(name, world):
                reasons.setdefault((world, reason), []).append(f"`{name}`")
    return table(
        ["kind", "not in the world", "because"],
        [[", ".join(names), world, reason] for (world, reason), names in reasons.items()],
    )


def drill_keys(table_name: str) -> Callable[[], str]:
    """The keys of one table of a drill file."""

    def describe() -> str:
        from licensing_harness.generate import drill_keys as keys

        def default(key: keys.Key) -> str:
            if key.required:
                return "needed"
            match key.default:
                case None | () | {}:
                    return "none"
                case bool():
                    return str(key.default).lower()
                case dict():
                    return "`{ " + ", ".join(f"{name} = {value}" for name, value in key.default.items()) + " }`"
                case float():
                    return f"{key.default:g}"
            return str(key.default)

        found: Mapping[str, keys.Key] = getattr(keys, table_name)
        return table(
            ["key", "means", "default"], [[f"`{name}`", key.does, default(key)] for name, key in found.items()]
        )

    return describe


def drills() -> str:
    """Every drill that comes along: its name, what it rehearses, what it breaks, and what it tries."""
    from licensing_harness.commands.drill import shipped
    from licensing_harness.generate.drill_file import read_drill

    rows = []
    for name, path in shipped().items():
        drill = read_drill(path.read_text(encoding="utf-8"), path.name)
        kinds = ", ".join(dict.fromkeys(f"`{each.kind}`" for each in drill.faults.faults))
        rows.append([f"`{name}`", drill.title, kinds, ", ".join(drill.tries), f"{drill.seconds:g} s"])
    return table(["name", "rehearses", "faults", "promises", "load"], rows)


def exit_codes() -> str:
    """Every exit code, worst first, in the order in which one wins over another."""
    from licensing_harness.verdict import Exit, worst

    order: list[int] = []
    left = {int(code) for code in Exit}
    while left:
        order.append(worst(left))
        left.discard(order[-1])
    return table(["code", "meaning"], [[f"`{code}`", _MEANING[Exit(code).name]] for code in order])


_MEANING: Final = {
    "CLEAN_UP": "clean-up incomplete: a fault, a process or a licence of the run was left behind",
    "GUARD": "a safety guard refused: a host that is not allowed, or the request cap",
    "NOT_READY": "the target was not ready",
    "HARNESS_ERROR": "an error of the harness or of the adapter: the run says nothing about the target",
    "USAGE": "an option, an adapter or a file can't be used as given",
    "BROKEN": "a promise was broken",
    "INTERRUPTED": "interrupted",
    "WARNINGS": "pytest's: too many warnings",
    "UNDECIDED": "nothing was broken, and something that was tried was not proved",
    "THRESHOLD": "every promise held, and a load threshold was missed",
    "NOTHING_COLLECTED": "no scenario was selected",
    "HELD": "every promise that was tried was held",
}


def fields(name: str) -> Callable[[], str]:
    """The fields of one record of the history, or of one part of the result."""

    def describe() -> str:
        import msgspec

        from licensing_harness import history, verdict

        kind: Any = getattr(history, name, None) or getattr(verdict, name)
        described = (
            [(each.name, each.required) for each in msgspec.structs.fields(kind)]
            if issubclass(kind, msgspec.Struct)
            else [(each.name, True) for each in dataclasses.fields(kind)]
        )
        return ", ".join(f"`{field}`" + ("" if required else " (may be left out)") for field, required in described)

    return describe


CONTENTS: Final[dict[str, Callable[[], str]]] = {
    "options": options,
    "promises": promises,
    "capabilities": capabilities,
    "reasons": reasons,
    "exit-codes": exit_codes,
    "drill-top": drill_keys("TOP"),
    "drill-load": drill_keys("LOAD"),
    "drill-stop": drill_keys("STOP"),
    "drills": drills,
    "fault-kinds": fault_kinds,
    "fault-reasons": fault_reasons,
    "extension-toxics": extension_toxics,
    "conformance": conformance,
    "divergences": divergences,
    **{f"fields-{name}": fields(name) for name in ("Header", "StoryOpened", "Begun", "Operation", "Fault")},
    **{f"fields-{name}": fields(name) for name in ("StoryEnded", "RunResult", "PromiseResult", "ScenarioResult")},
    "fields-Finding": fields("Finding"),
    **{f"fields-{name}": fields(name) for name in ("FaultResult", "CellResult")},
}


class FromCode(SphinxDirective):
    """``{from-code} options`` puts that table here."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """The parsed table. Raises an error of the directive for a name that there is none of."""
        name = self.arguments[0]
        if name not in CONTENTS:
            raise self.error(f"from-code knows {', '.join(CONTENTS)}; not {name!r}")
        return self.parse_text_to_nodes(CONTENTS[name]())


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("from-code", FromCode)
    return {"version": "1", "parallel_read_safe": True}
