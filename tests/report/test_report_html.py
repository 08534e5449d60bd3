"""report.html: everything that a reader needs in one file, and nothing that runs, loads or leaks."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from conftest import Run, operation  # type: ignore[import-not-found]

from licensing_harness import report
from licensing_harness.history import StoryHistory
from licensing_harness.masking import Masker
from licensing_harness.report.directory import RunDirectory
from licensing_harness.report.html import LIMIT, report_html
from licensing_harness.report.text import masked, masked_story
from licensing_harness.verdict import Exit, Finding, PromiseResult, RunResult, ScenarioResult, Verdict

EMPTY = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """A page with its tags balanced, or an assertion."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.said: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.said.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.said).split())

    def every(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(run: Run) -> Page:
    cases = {name: masked_story(each, run.masker) for name, each in run.tally.cases.items()}
    return Page(report_html(masked(run.result, run.masker), cases))


def finding(n: int, **more: object) -> Finding:
    row = {"n": 1, "at": 0.5, "until": 0.6, "client": "laptop", "verb": "activate", "licence": "L1", "asked": {}}
    fields = {
        "promise": f"SEA-{n % 40:03d}",
        "sentence": "never more holders than seats",
        "scenario": f"seats/test_seats.py::test_{n}",
        "world": "live",
        "story": "s1",
        "expected": "refused",
        "observed": "accepted",
        "evidence": [row | {"outcome": "accepted", "reason": ""}],
        "case": f"SEA-001-{n:04x}",
    }
    return Finding(**(fields | more))  # type: ignore[arg-type]


def test_the_page_answers_in_the_order_in_which_readers_ask(run: Run) -> None:
    """Verdict first, then what was not tested, then what broke; facts of the run come last."""
    text = page(run).text
    headings = [
        "Broken, exit 1",
        "Not tested, and why",
        "Broken promises",
        "Undecided",
        "Promises",
        "Scenarios",
        "Faults",
        "Thresholds",
        "Notes",
        "The run",
    ]
    places = [text.index(f" {each} ") for each in headings]

    assert places == sorted(places)
    assert "1 was broken (SEA-001)" in text
    assert "exit code 1 says that the target broke a promise." in text


def test_a_finding_is_shown_with_all_that_it_takes_to_believe_it(run: Run) -> None:
    """Sentence, expected, observed, evidence, control, the command, and the drawing with its words."""
    shown = page(run)
    (found,) = run.result.findings

    for part in (found.sentence, found.expected, found.observed, f"licensing-harness replay {found.case}", "Control:"):
        assert part in shown.text
    (drawing,) = (each for each in shown.every("svg") if each.get("role") == "img")
    assert drawing["aria-labelledby"] == f"{found.case}-title {found.case}-desc"
    assert "#3 phone activate accepted" in shown.text
    assert "cut-answer" in shown.text
    assert "no end seen" in shown.text


def test_what_was_not_run_and_what_is_undecided_has_its_reason(run: Run) -> None:
    """Of promises and of scenarios."""
    text = page(run).text

    for each in run.result.promises:
        if each.verdict in (Verdict.NOT_RUN, Verdict.UNDECIDED):
            assert run.masker.mask(each.reason) in text
    assert "offline/test_offline.py::test_month [live] : needs a clock" in text


def test_errors_notes_and_thresholds_are_shown(run: Run) -> None:
    """An unmeasured threshold is a dash, not a nought."""
    threshold = {"name": "p95:validate", "limit": 50.0, "unit": "ms", "value": None, "samples": 3}
    result = replace(
        run.result, thresholds=[threshold | {"verdict": "undecided", "reason": "3 of at least 20 samples"}]
    )
    text = Page(report_html(result, {})).text

    assert "an error that names" in text
    assert "a note that names" in text
    assert "p95:validate ? undecided 50.0 ms \N{EN DASH} 3 3 of at least 20 samples" in text
    assert "There is no timeline" in text


@pytest.mark.parametrize(
    ("verdict", "code", "tone"),
    [
        (Verdict.HELD, Exit.HELD, "held"),
        (Verdict.HELD, Exit.CLEAN_UP, "undecided"),
        (Verdict.UNDECIDED, Exit.UNDECIDED, "undecided"),
        (Verdict.BROKEN, Exit.BROKEN, "broken"),
    ],
)
def test_only_exit_0_is_green(verdict: Verdict, code: Exit, tone: str) -> None:
    """A run that held and left something behind is no pass."""
    promise = PromiseResult(id="SEA-001", sentence="s", verdict=verdict)
    shown = Page(report_html(RunResult(promises=[promise], verdict=verdict, exit_code=int(code)), {}))

    (top,) = shown.every("header")
    assert top["class"] == f"top {tone}"


def test_a_run_of_nothing_says_so() -> None:
    """No promise, no scenario, no fault: still a page, and no claim."""
    text = Page(report_html(RunResult(exit_code=5), {})).text

    assert "The target was judged by no promise; exit code 5 says that no scenario was found." in text


HOSTILE = "</title></style><script>alert(1)</script><img src=x onerror='a'>\"{{ 7*7 }} & \x00\x1b[31m\u202e"


def test_markup_of_others_is_text() -> None:
    """In every place where a target, an adapter or a licence can put its words."""
    story = StoryHistory(
        story=HOSTILE,
        world=HOSTILE,
        scenario=HOSTILE,
        operations=[
            operation(1, HOSTILE, HOSTILE, 0.0, 0.1, licence=HOSTILE, reason=HOSTILE, asked={HOSTILE: HOSTILE}),
        ],
    )
    row = {"n": 1, "at": 0.5, "client": HOSTILE, "verb": HOSTILE, "licence": HOSTILE, "asked": {"name": HOSTILE}}
    found = finding(
        1,
        promise=HOSTILE,
        sentence=HOSTILE,
        scenario=HOSTILE,
        world=HOSTILE,
        story=HOSTILE,
        expected=HOSTILE,
        observed=HOSTILE,
        evidence=[row | {"outcome": HOSTILE, "reason": HOSTILE}],
        case="c",
    )
    result = RunResult(
        run=HOSTILE,
        harness=HOSTILE,
        target=HOSTILE,
        capabilities=[HOSTILE],
        contract={HOSTILE: 1.0},
        depth=HOSTILE,
        started=HOSTILE,
        promises=[PromiseResult(id=HOSTILE, sentence=HOSTILE, verdict=Verdict.UNDECIDED, reason=HOSTILE)],
        scenarios=[ScenarioResult(id=HOSTILE, world=HOSTILE, verdict=each, reason=HOSTILE) for each in Verdict],
        findings=[found],
        worlds={HOSTILE: {"stories": 1}},
        faults={HOSTILE: {"set": 1}},
        thresholds=[{"name": HOSTILE, "verdict": HOSTILE, "limit": HOSTILE, "value": HOSTILE}],
        errors=[HOSTILE],
        notes=[HOSTILE],
    )
    text = report_html(result, {"c": story})
    shown = Page(text)

    assert len(shown.every("script")) == 1
    assert shown.every("img") == []
    assert not any(name.startswith("on") for _, attributes in shown.tags for name in attributes)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)
    assert shown.text.count("<script>alert(1)</script>") > 30
    assert "{{ 7*7 }}" in shown.text


def test_the_page_loads_nothing(run: Run) -> None:
    """No address, and a policy under which the browser would not follow one; its script is named by its digest."""
    result = replace(run.result, target="")
    text = report_html(result, run.tally.cases)
    shown = Page(text)

    assert not re.search(r"https?://|@import|url\((?!#)", text)
    assert not any({"src", "href", "xlink:href"} & set(attributes) for _, attributes in shown.tags)
    (policy,) = (each["content"] for each in shown.every("meta") if "default-src 'none'" in each.get("content", ""))
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_the_page_can_be_read_by_everybody(run: Run) -> None:
    """A language, headings without a gap, scopes on headers, words for drawings, no text under 12 pixels."""
    text = report_html(run.result, run.tally.cases)
    shown = Page(text)
    levels = [int(tag[1]) for tag, _ in shown.tags if re.fullmatch("h[1-6]", tag)]

    assert shown.every("html")[0]["lang"] == "en"
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(each.get("scope") in ("col", "row") for each in shown.every("th"))
    assert all("aria-hidden" in each or "aria-labelledby" in each for each in shown.every("svg"))
    assert all(float(size) >= 12 for size in re.findall(r"([\d.]+)px[ /]", text) if float(size) > 8)
    ids = [attributes["id"] for _, attributes in shown.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_planted_secret_is_masked_before_it_is_cut_or_escaped(run: Run, tmp_path: Path) -> None:
    """A secret that HTML spells differently, and one that stands where a text is cut, leave nothing behind."""
    odd, long = "s3cret<&\"'>key", "k" * 700
    masker = Masker()
    masker.register(odd)
    masker.register(long)
    story = next(iter(run.tally.cases.values()))
    for at, secret in enumerate((odd, long), start=1):
        story.operations[at] = msgspec.structs.replace(
            story.operations[at], reason=secret, client=secret, asked={"key": secret}
        )
    folder = RunDirectory.create(tmp_path, wall=0.0, token="t", masker=masker)
    folder.write(replace(run.result, target=odd, notes=[long]), run.header, run.tally.cases)
    text = (folder.path / "report.html").read_text()

    assert "s3cret" not in text
    assert "kkkkkk" not in text
    assert text.count("[masked:") > 4


def test_masking_a_story_changes_texts_only(run: Run, secret: str) -> None:
    """Numbers, times and outcomes stay, even where a secret looks like one."""
    story = next(iter(run.tally.cases.values()))
    masker = Masker()
    for each in ("accepted", "cut-answer", "0.000000", secret):
        masker.register(each)
    shown = masked_story(story, masker)

    assert [(each.n, each.begin, each.end, each.outcome) for each in shown.operations] == [
        (each.n, each.begin, each.end, each.outcome) for each in story.operations
    ]
    assert secret not in repr(shown)
    assert secret in repr(story)


def test_a_page_of_a_run_gone_wrong_everywhere_stays_small() -> None:
    """Thousands of findings, scenarios and long texts: the page says how much of it is in result.json."""
    long = "<\"'&>" * 2000
    story = StoryHistory(
        story="s1",
        world="live",
        scenario="x",
        operations=[
            operation(n, f"c{n % 9}", long, n * 0.1, n * 0.1 + 0.05, reason=long, asked={"a": long})
            for n in range(1, 300)
        ],
    )
    findings = [finding(n, expected=long, observed=long, sentence=long) for n in range(2000)]
    result = RunResult(
        target=long,
        exit_code=1,
        verdict=Verdict.BROKEN,
        findings=findings,
        promises=[
            PromiseResult(id=f"P-{n}", sentence=long, verdict=Verdict.UNDECIDED, reason=long) for n in range(900)
        ],
        scenarios=[
            ScenarioResult(id=f"{n}{long}", world="live", verdict=Verdict.BROKEN, reason=f"{n}{long}")
            for n in range(3000)
        ],
        errors=[long] * 2000,
        notes=[long] * 2000,
        thresholds=[{"name": long, "verdict": "held"}] * 2000,
        capabilities=[long] * 2000,
    )
    text = report_html(result, {each.case: story for each in findings})

    assert len(text.encode()) <= LIMIT
    assert re.search(r"\d+ findings of 2000 are not shown here", text)
    Page(text)


def test_every_broken_promise_is_shown_before_any_is_shown_twice() -> None:
    """Forty findings of one promise don't push the only one of another off the page."""
    findings = [finding(n, promise="SEA-001", case=f"SEA-001-{n:04x}") for n in range(40)]
    findings.append(finding(99, promise="VAL-001", case="VAL-001-0000"))
    text = Page(report_html(RunResult(findings=findings), {})).text

    assert "replay VAL-001-0000" in text
    assert text.count("licensing-harness replay") == 20
    assert "21 findings of 41 are not shown here" in text


def test_colours_are_readable_in_light_and_in_dark() -> None:
    """Text stands out from what it is written on by 4.5 to 1 at least; what is drawn, by 3 to 1."""
    css = Path(report.__file__).with_name("page.css").read_text()
    schemes = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)[:2]
    assert "prefers-color-scheme: dark" in css
    assert len(schemes) == 2
    for scheme in schemes:
        colours = {name: _light(value) for name, value in re.findall(r"--([a-z-]+): #([0-9a-f]{6})", scheme)}

        def contrast(one: str, two: str, colours: dict[str, float] = colours) -> float:
            dark, light = sorted((colours[one], colours[two]))
            return (light + 0.05) / (dark + 0.05)

        for text in ("text", "quiet", "link", "held", "broken", "undecided", "not-run", "fault"):
            assert contrast(text, "back") >= 4.5, text
            assert contrast(text, "panel") >= 4.5, text
        for verdict in ("held", "broken", "undecided", "not-run"):
            for back in ("held", "broken", "undecided", "not-run"):
                assert contrast(verdict, f"{back}-back") >= 4.5, (verdict, back)
        for drawn in ("accepted", "refused", "unknown"):
            assert contrast(drawn, "panel") >= 3, drawn
            assert contrast(drawn, "mark") >= 3, drawn


def _light(colour: str) -> float:
    """Relative luminance, as WCAG defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
