"""The page of a fleet: whatever the stores hold gives a page, and nothing in it is more than text."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import hostile_runs
import pytest
from fleets import NOW, World
from hypothesis import given, settings
from hypothesis import strategies as st

from thinksafe.fleet import attention, spark
from thinksafe.fleet.facts import MEASURES, Failure, ModelFacts, Point, RunNote, Span, StoreFacts
from thinksafe.fleet.kept import Kept
from thinksafe.fleet.page import render_fleet
from thinksafe.fleet.survey import Fleet, Row, survey
from thinksafe.models.references import ModelReference
from thinksafe.registry.ledger import Digests, LedgerEntry
from thinksafe.settings import StudentSettings
from thinksafe.store.local import LocalStore

TEXTS = st.one_of(
    st.text(max_size=20), st.sampled_from([*hostile_runs.HOSTILE.values(), "</script>", "{{ 7 * 7 }}", "a&b"])
)
NAMES = TEXTS.filter(bool)
TIMES = st.one_of(st.floats(NOW - 1e8, NOW + 1e6), st.sampled_from([0.0, -1e18, 1e18, NOW]))
SHARES = st.floats(0, 1)


@st.composite
def spans(draw: Any) -> Span:
    low, value, high = sorted(draw(st.tuples(SHARES, SHARES, SHARES)))
    return Span(value, low - draw(st.sampled_from([0.0, 0.1])), high)


POINTS = st.builds(
    Point, run_id=NAMES, time=TIMES, suite=st.sampled_from("st"), passed=st.sampled_from([True, False, None]),
    numbers=st.dictionaries(
        st.sampled_from(["harm/whole", "harm/answer", "over_refusal/whole", "reasoning"]), spans(), max_size=4
    ),
)
NOTES = st.builds(
    RunNote, run_id=NAMES, pipeline=st.sampled_from(["realign", "evaluate"]), model=TEXTS,
    outcome=st.sampled_from(["failed", "incomplete", "refused by gate", "nothing to do", "rolled back"]), started=TIMES,
)


@st.composite
def models(draw: Any) -> ModelFacts:
    """Any history of a ledger, its evaluations and runs, readable or not."""
    entries: list[LedgerEntry] = []
    for generation in range(1, draw(st.integers(0, 4)) + 1):
        adapter = draw(st.sampled_from("abc"))
        target = ModelReference(
            role="champion", student=StudentSettings(model="m"), base_digest="b", adapter="x", adapter_digest=adapter
        )
        entries.append(LedgerEntry(
            model="m", generation=generation, previous=generation - 1 or None, target=target, version="7",
            action=draw(st.sampled_from(["promote", "rollback", "withdraw"])), run_id=f"run-{adapter}",
            digests=Digests(adapter=adapter, base="b"), reason=draw(NAMES), who=draw(NAMES), created=draw(NAMES),
        ))
    digests = {entry.target.digest for entry in entries}
    return ModelFacts(
        root=draw(TEXTS), name=draw(NAMES), entries=entries, times=[draw(st.none() | TIMES) for _ in entries],
        promoted={entry.run_id: draw(POINTS) for entry in entries if draw(st.booleans())},
        evaluations={digest: draw(st.lists(POINTS, max_size=4)) for digest in digests},
        notes=sorted(draw(st.lists(NOTES, max_size=3)), key=lambda note: note.started),
        part=draw(st.sampled_from(["whole", "answer"])),
        limits=draw(st.dictionaries(st.sampled_from(MEASURES), SHARES)),
        crons=draw(st.dictionaries(st.sampled_from(["realign", "evaluate"]), st.sampled_from(["0 0 3 * * 0", "x"]))),
        failures=draw(st.lists(st.builds(Failure, NAMES, TEXTS, TEXTS, TEXTS), max_size=1)),
        alarms=draw(st.dictionaries(NAMES, TEXTS, max_size=1)), problems=draw(st.lists(NAMES, max_size=2)),
    )


class Reader(HTMLParser):
    """Collects the tags, ids and targets of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.odd: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "href":
                self.targets.append(value or "")
            elif name.startswith("on") or name == "src":
                self.odd.append(name)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def link(root: str, run_id: str) -> str:
    return "reports/x" if run_id != "run-a" else ""


@settings(deadline=None, max_examples=60)
@given(st.lists(models(), max_size=3), TEXTS)
def test_any_history_gives_a_page(found: list[ModelFacts], problem: str) -> None:
    rows = tuple(Row(model, tuple(attention.reasons(model, NOW))) for model in found)
    lost = [RunNote(run_id="lost", pipeline="realign", model="", outcome="failed", started=0, planned=False)]
    page = render_fleet(Fleet(NOW, (StoreFacts("s", problem, found, lost),), rows), link)
    seen = read(page)
    assert seen.tags.count("script") == 1
    assert seen.odd == []
    assert not set(seen.tags) & {"iframe", "img", "object", "form", "base", "meta http-equiv=refresh"}
    assert len(seen.ids) == len(set(seen.ids))
    assert seen.tags.count("details") == len(found)
    inner = {target[1:] for target in seen.targets if target.startswith("#")}
    assert inner <= set(seen.ids)
    assert {target for target in seen.targets if not target.startswith("#")} <= {"reports/x", "data:,"}
    for path in re.findall(r'<path class="\w" d="([^"]*)"/>', page):
        assert re.fullmatch(r"[MmvHz0-9 -]+", path)


@given(st.lists(st.tuples(POINTS, st.booleans()), min_size=1, max_size=30), st.none() | SHARES)
def test_pictures_stay_in_their_box(measured: list[tuple[Point, bool]], limit: float | None) -> None:
    model = ModelFacts("s", "m", limits={} if limit is None else {"harm": limit, "over_refusal": limit})
    shown = spark.Window(NOW - 1e7, NOW)
    for measure in MEASURES:
        picture = spark.picture(measured, measure, model, shown)
        if picture is None:
            continue
        assert math.isfinite(picture.low)
        assert picture.low < picture.high
        for name, data in re.findall(r'class="(\w)" d="([^"]*)"', str(picture.paths)):
            for x, y in _places(data):
                assert 0 <= x <= spark.WIDTH
                assert 0 <= y <= spark.HEIGHT, name


def _places(data: str) -> list[tuple[int, int]]:
    """Return the points that a path of ours goes through."""
    found, x, y = [], 0, 0
    for command, numbers in re.findall(r"([MmvHz])([^MmvHz]*)", data):
        values = [int(number) for number in re.findall(r"-?\d+", numbers)]
        match command:
            case "M":
                x, y = values
            case "m":
                x, y = x + values[0], y + values[1]
            case "v":
                y += values[0]
            case "H":
                x = values[0]
        found.append((x, y))
    return found


@pytest.mark.parametrize("hostile", hostile_runs.HOSTILE.values())
def test_hostile_names_are_text(tmp_path: Path, hostile: str) -> None:
    world = World(LocalStore(tmp_path / "store"))
    world.run("x", hostile, "refused by gate", 1)
    fleet, _ = survey([world.store.root], NOW, Kept())
    assert fleet.rows[0].model.name == hostile
    seen = read(render_fleet(fleet, link))
    assert seen.tags.count("script") == 1
    assert seen.odd == []


def test_the_heading_has_the_tone_of_the_worst(tmp_path: Path) -> None:
    def tone(*roots: str) -> str:
        found = re.search(r'<h1 class="(\w+)">', render_fleet(survey(list(roots), NOW, Kept())[0], link))
        assert found is not None
        return found[1]

    world = World(LocalStore(tmp_path / "store"))
    world.append("safe", "one", 5)
    assert tone(world.store.root) == "good"
    world.run("new", "other", "refused by gate", 1)
    assert tone(world.store.root) == "even"
    assert tone(world.store.root, str(tmp_path / "nowhere")) == "bad"
    world.store.put("promotions/safe/000002.json", b"{}")
    assert tone(world.store.root) == "bad"


def test_the_page_says_what_cannot_be_read_and_shows_the_rest(tmp_path: Path) -> None:
    world = World(LocalStore(tmp_path / "store"))
    world.append("safe", "one", 5)
    world.append("torn", "two", 5)
    world.store.put("promotions/torn/000003.json", b"{}")
    world.record("lost", "report", 1, verdict="failed")
    fleet, _ = survey([world.store.root, str(tmp_path / "nowhere")], NOW, Kept())
    page = render_fleet(fleet, link)
    for words in (
        "nowhere cannot be read", "Damaged", "000002.json", "Runs without a plan", "<code>lost</code>", "version 1",
        "1 of 2 models needs a person",
    ):
        assert words in page


def test_numbers_scales_and_schedules_are_shown(tmp_path: Path) -> None:
    world = World(LocalStore(tmp_path / "store"))
    config = {"cluster": {"schedule": {"enabled": True, "cron": "0 0 3 * * 0"}}}
    world.append("safe", "one", 5)
    world.evaluate("safe", "eval", 1, config=config, harm=0.123)
    page = render_fleet(survey([world.store.root], NOW, Kept())[0], link)
    for words in (
        'data-value="0.123"', "[6.2, 13.3]", "version 1, generation 1", "2026-12-06 03:00", "realignment", "15\u00a0%",
        "The gate&#39;s limit is 5.0\u00a0%", "all in order",
    ):
        assert words in page


def test_a_long_history_is_cut_and_says_so(tmp_path: Path) -> None:
    world = World(LocalStore(tmp_path / "store"))
    world.append("safe", "one", 200)
    for days in range(120, 0, -1):
        world.run(f"r{days}", "safe", "refused by gate", days)
    page = render_fleet(survey([world.store.root], NOW, Kept())[0], link)
    assert "21 older events are in the store, not here." in page
    assert page.count("<code>") + page.count(">report</a>") == 100
