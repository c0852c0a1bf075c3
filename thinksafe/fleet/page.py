"""The page of a fleet: one HTML file that needs nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from markupsafe import Markup

from thinksafe.fleet import attention, spark
from thinksafe.fleet.attention import NAMES, ago, day
from thinksafe.fleet.events import events
from thinksafe.fleet.facts import MEASURES, ModelFacts, Numbers, RunNote, Span, number
from thinksafe.fleet.spark import Picture, Window
from thinksafe.fleet.survey import Fleet, Row
from thinksafe.records import Interval, MetricKind, Part
from thinksafe.report.html import asset, own, render
from thinksafe.report.tables import KIND_NAMES, NONE, Cell, share
from thinksafe.text import label, percent, plural, utc

EVENTS, FEWEST, MOST = 1600, 6, 100
"""Events on a page, and of a model at least and at most: a page of 200 models stays below 3 MB."""
LISTED = 20
"""Longest list of problems and of lost runs."""
TONES = {"Alarm": "bad", "Damaged": "bad", "Failed": "bad", "In order": "good"}
Link = Callable[[str, str], str]
"""From store and run to the address of the run's report, relative to the page; empty if there is none."""


class Measure(NamedTuple):
    """One measure of a model."""

    name: str
    key: str
    """Id of the picture on the page."""
    cell: Cell
    picture: Picture | None
    scale: tuple[str, str]
    alt: str


class EventRow(NamedTuple):
    """One line of a model's history."""

    when: str
    what: str
    tone: str
    version: str
    numbers: tuple[Cell, ...]
    note: str
    run_id: str
    link: str


class ModelView(NamedTuple):
    """One model as the template lays it out."""

    key: str
    name: str
    root: str
    state: str
    tone: str
    reasons: list[tuple[str, str]]
    champion: Cell
    facts: list[tuple[str, str]]
    measures: list[Measure]
    marks: Markup
    age: Cell
    next: Cell
    events: list[EventRow]
    hidden: int
    """Events that are not shown."""


def render_fleet(fleet: Fleet, link: Link) -> str:
    """Return the page.

    Args:
        fleet: What to show.
        link: Where the reports are.
    """
    shown = spark.window([row.model for row in fleet.rows], fleet.now)
    most = max(FEWEST, min(MOST, EVENTS // max(len(fleet.rows), 1)))
    views = [_view(f"m{place}", row, fleet.now, shown, most, link) for place, row in enumerate(fleet.rows)]
    waiting = [view for view in views if view.state != "In order"]
    counts = Counter(view.state for view in views)
    lost = sorted(
        ((note, store.root) for store in fleet.stores for note in store.lost), key=lambda item: -item[0].started
    )
    return render(
        "fleet.html.jinja", f"{_title(len(waiting), len(views))}: fleet", "waiting",
        heading=_title(len(waiting), len(views)), tone=_tone(fleet, waiting),
        fleet_style=own(asset("fleet.css")), views=views, waiting=waiting, several=len(fleet.stores) > 1,
        counts=[(state, counts[state], TONES.get(state, "even")) for state in attention.STATES if counts[state]],
        stores=[(store.root, _store_words(store.problem, len(store.models), store.others)) for store in fleet.stores],
        unread=[(store.root, store.problem) for store in fleet.stores if store.problem],
        problems=[problem for store in fleet.stores for problem in store.problems][:LISTED],
        lost=[_lost(note, root, link) for note, root in lost[:LISTED]], lost_in_all=len(lost),
        made=utc(fleet.now), start=day(shown.start), end=day(shown.end), states=attention.STATES,
        old_days=attention.OLD_DAYS, measures=[KIND_NAMES[measure] for measure in MEASURES],
    )


def _tone(fleet: Fleet, waiting: list[ModelView]) -> str:
    """Return the tone of the page: that of the worst of what needs a person."""
    found = {view.tone for view in waiting}
    if "bad" in found or any(store.problem for store in fleet.stores):
        return "bad"
    return "even" if waiting else "good"


def _title(waiting: int, models: int) -> str:
    if not models:
        return "No models"
    if not waiting:
        return f"{plural(models, 'model')}, all in order"
    return f"{waiting} of {plural(models, 'model')} {'needs' if waiting == 1 else 'need'} a person"


def _store_words(problem: str, models: int, others: int) -> str:
    more = f"; {plural(others, 'model')} with evaluations never {'was' if others == 1 else 'were'} champion"
    return "cannot be read" if problem else plural(models, "model") + (more if others else "")


def _lost(note: RunNote, root: str, link: Link) -> tuple[str, str, str, str]:
    return note.run_id, day(note.started), note.outcome, link(root, note.run_id)


def _view(key: str, row: Row, now: float, shown: Window, most: int, link: Link) -> ModelView:
    model = row.model
    happened = events(model)
    measured = model.measured()
    newest = model.newest()
    numbers = newest.numbers if newest is not None else {}
    measures = []
    for measure in MEASURES:
        picture = spark.picture(measured, measure, model, shown)
        measures.append(_measure(key, measure, numbers, model, picture, len(measured)))
    return ModelView(
        key=key, name=model.name, root=model.root, state=row.state, tone=TONES.get(row.state, "even"),
        reasons=[(reason.state, reason.words) for reason in row.reasons], champion=_champion(model, now),
        facts=_facts(model, now), measures=measures, marks=spark.marks(model, shown),
        age=NONE if newest is None else Cell(f"{ago(newest.time, now)} ago", repr(newest.time), day(newest.time)),
        next=_next(model, now), hidden=max(len(happened) - most, 0),
        events=[
            EventRow(
                utc(event.time)[:16], event.what, "bad" if event.what in ("Alarm", "Failed") else "",
                event.version + (f" (generation {event.generation})" if event.generation is not None else ""),
                tuple(_cell(event.numbers, measure, model.part)._replace(value="") for measure in MEASURES),
                label(event.note, 160), event.run_id, link(model.root, event.run_id),
            )
            for event in happened[:most]
        ],
    )


def _measure(
    key: str, measure: MetricKind, numbers: Numbers, model: ModelFacts, picture: Picture | None, points: int
) -> Measure:
    cell = _cell(numbers, measure, model.part)
    limit = "" if measure == "reasoning" or measure not in model.limits else (
        f" The gate's limit is {percent(model.limits[measure])}."
    )
    alt = (
        f"{KIND_NAMES[measure]} of {label(model.name, 60)} over time, {plural(points, 'measurement')}: now {cell.text} "
        f"{cell.note}.{limit}"
    )
    scale = (percent(picture.low, 0), percent(picture.high, 0)) if picture is not None else ("", "")
    return Measure(KIND_NAMES[measure], f"{key}{measure[0]}", cell, picture, scale, alt)


def _cell(numbers: Numbers | None, measure: MetricKind, part: Part) -> Cell:
    span: Span | None = number(numbers or {}, measure, part)
    if span is None:
        return NONE
    return share(span.value, Interval(low=span.low, high=span.high, confidence=0, method="as measured"))


def _champion(model: ModelFacts, now: float) -> Cell:
    champion, since = model.champion, model.since
    if champion is None:
        return NONE
    age = f"for {ago(since, now)}" if since is not None else ""
    return Cell(f"version {champion.version}", champion.version, age)


def _next(model: ModelFacts, now: float) -> Cell:
    found = attention.schedules(model, now)
    times = [(one.next, one) for one in found if one.next is not None]
    if not times:
        return NONE if not found else Cell("never", "", found[0].cron)
    time, one = min(times)
    return Cell(utc(time)[:16], repr(time), NAMES[one.pipeline])


def _facts(model: ModelFacts, now: float) -> list[tuple[str, str]]:
    found = [("Store", model.root)]
    if (champion := model.champion) is not None:
        found += [
            ("Champion", f"version {champion.version}, generation {champion.generation}"),
            ("Since", f"{champion.created}, by {champion.who}"), ("Made by the run", champion.run_id),
            ("Why", champion.reason),
        ]
        found += [
            ("Waived", f"{use.check} by {use.person} until {use.expires}: {use.reason}")
            for use in champion.waivers if use.effect == "applied"
        ]
    for one in attention.schedules(model, now):
        following = utc(one.next) if one.next is not None else "never"
        found.append((f"Next {NAMES[one.pipeline]}, as configured", f"{following} ({one.cron})"))
    return found
