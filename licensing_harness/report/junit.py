"""JUnit XML for CI systems: undecided is a failure, not run is skipped with its reason."""

from __future__ import annotations

import re
from typing import Final
from xml.etree import ElementTree as ET

from licensing_harness.report.text import finding_text
from licensing_harness.verdict import Finding, RunResult, Verdict

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML 1.0 document may contain, not even escaped."""


def junit(result: RunResult) -> str:
    """The run as JUnit XML: one suite of promises, and one of scenarios for each world.

    ``result`` must be masked already.
    """
    root = ET.Element("testsuites", name="licensing-harness")
    promises = _suite(root, "promises")
    for promise in result.promises:
        found = [each for each in result.findings if each.promise == promise.id]
        _case(promises, promise.id.partition("-")[0], f"{promise.id} {promise.sentence}", 0.0)
        _outcome(promises, promise.verdict, promise.reason, found)
    for world in dict.fromkeys(each.world for each in result.scenarios):
        suite = _suite(root, f"scenarios [{world}]")
        for scenario in result.scenarios:
            if scenario.world == world:
                found = [each for each in result.findings if (each.scenario, each.world) == (scenario.id, world)]
                module, _, name = scenario.id.rpartition("::")
                _case(suite, module or scenario.id, f"{name}[{world}]", scenario.seconds)
                _outcome(suite, scenario.verdict, scenario.reason, found)
    if result.errors:
        suite = _suite(root, "run")
        for number, text in enumerate(result.errors, start=1):
            _case(suite, "licensing-harness", f"error {number}", 0.0)
            ET.SubElement(suite[-1], "error", type="HarnessError", message=_xml(text)).text = _xml(text)
    for suite in root:
        _count(suite)
    _count(root)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: ET.Element, name: str) -> ET.Element:
    return ET.SubElement(root, "testsuite", name=_xml(name))


def _case(suite: ET.Element, module: str, name: str, seconds: float) -> None:
    ET.SubElement(suite, "testcase", classname=_xml(module), name=_xml(name), time=f"{seconds:.3f}")


def _outcome(suite: ET.Element, verdict: Verdict, reason: str, found: list[Finding]) -> None:
    case = suite[-1]
    match verdict:
        case Verdict.BROKEN:
            first = found[0] if found else None
            message = f"{first.promise} {first.sentence}" if first is not None else "broken"
            failure = ET.SubElement(case, "failure", type="PromiseBroken", message=_xml(message))
            failure.text = _xml("\n\n".join(map(finding_text, found)))
        case Verdict.UNDECIDED:
            ET.SubElement(case, "failure", type="Undecided", message=_xml(f"undecided: {reason}"))
        case Verdict.NOT_RUN:
            ET.SubElement(case, "skipped", message=_xml(f"not run: {reason}"))
        case Verdict.HELD:
            pass


def _count(element: ET.Element) -> None:
    element.set("tests", str(sum(1 for _ in element.iter("testcase"))))
    element.set("failures", str(sum(1 for _ in element.iter("failure"))))
    element.set("errors", str(sum(1 for _ in element.iter("error"))))
    element.set("skipped", str(sum(1 for _ in element.iter("skipped"))))
    element.set("time", f"{sum(float(each.get('time', '0')) for each in element.iter('testcase')):.3f}")


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
