"""The report page in a real browser: nothing breaks, nothing is fetched, everybody can read it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hostile_runs
import pytest
import report_runs as runs
from comparison_runs import comparison
from fleets import demonstration
from markupsafe import escape

from thinksafe.fleet.page import render_fleet
from thinksafe.fleet.places import links
from thinksafe.records import Interval
from thinksafe.report import render_page
from thinksafe.report.comparison.build import summarise_comparison
from thinksafe.report.comparison.page import render_comparison
from thinksafe.report.model_history import render_history
from thinksafe.report.samples import Browser, SampleRow, Text
from thinksafe.report.summary import published, summarise
from thinksafe.report.timeline import Event, Number
from thinksafe.store.local import LocalStore
from thinksafe.text import clean

CHROMIUM = Path("/usr/bin/chromium")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
axe_api = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe is not installed (pip install axe-playwright-python)"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is missing (apt-get install chromium)"),
]

SIZES = {"wide": (1280, 900), "tablet": (820, 1180), "phone": (390, 844)}
SCREENSHOTS = os.environ.get("THINKSAFE_SCREENSHOTS", "")
"""Folder that keeps pictures of the pages, where it is named (CI does)."""
Opener = Callable[..., Any]


def written(name: str) -> str:
    """Return a page by name: of a run or a comparison, of hostile texts, of the history of a model or of a fleet."""
    if name == "history":
        return render_history("qwen3-safe", events())
    if name == "comparison":
        found = comparison(price=3.0)
        return render_comparison(summarise_comparison(found.records, found.read, run_id="run-1"))
    kind, _, hostile = name.partition("/")
    if kind == "fleet":
        with tempfile.TemporaryDirectory() as folder:
            store = LocalStore(Path(folder) / "store")
            return render_fleet(demonstration(store, hostile_runs.HOSTILE[hostile] if hostile else ""), links(folder))
    if name in runs.ALL:
        return render_page(summarise(runs.ALL[name]()), samples() if name == "promoted" else Browser())
    return render_page(summarise(hostile_runs.hostile(hostile_runs.HOSTILE[name])), samples(hostile_runs.HOSTILE[name]))


def samples(text: str = "") -> Browser:
    """Rows of three benchmarks; hostile ones where there is a text, which is revealed then."""
    rows = [
        SampleRow(
            f"{text}{source}-{number}", f"{text}{source}", ("unsafe" if number % 2 else "safe", "safe"),
            "yes" if number % 2 else "no", "0" * 64,
            tuple(Text(name, escape(clean(text, 2000)), 2000) for name in ("Prompt", "Candidate") if text),
        )
        for source in ("harmbench", "strongreject", "xstest")
        for number in range(20)
    ]
    return Browser(("base", "candidate"), tuple(rows), 4000, bool(text))


def events() -> list[Event]:
    made = metric_number("harmbench", 0.03), metric_number("average of 3", 0.6)
    common = {"run_id": "r", "harm": made[0], "reasoning": made[1], "created": "2026-09-01T00:00:00+00:00"}
    return [
        Event(
            version="1", generation=1, action="promote", decision="passed", who="ann", until="2026-09-02",
            champion=False, **common,
        ),
        Event(
            version="2", generation=None, action="registered", decision="refused", who="", until="", champion=False,
            **common,
        ),
        Event(
            version="1", generation=2, action="rollback", decision="passed", who=hostile_runs.HOSTILE["script"],
            until="", champion=True, **common,
        ),
    ]


def metric_number(name: str, value: float) -> Number:
    interval = Interval(low=value - 0.02, high=value + 0.02, confidence=0.9, method="agresti-coull")
    return Number(name=name, value=value, interval=interval, n=400)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("pages")

    def path(name: str) -> Path:
        file = folder / f"{name.replace('/', '-')}.html"
        if not file.exists():
            file.write_text(written(name), "utf-8")
        return file

    return path


@pytest.fixture
def opened(browser: Any, pages: Callable[[str], Path]) -> Iterator[Opener]:
    """Open a page and, in the end, check that it was silent and asked nobody for anything."""
    contexts, said, asked = [], [], []

    def open_page(name: str, size: str = "wide", scheme: str = "light", heard: Any = None, **settings: Any) -> Any:
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", heard or (lambda message: said.append(message.text)))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(pages(name).as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == len(contexts)


LOOKS = [
    *((name, "wide", "light") for name in (*runs.ALL, "history")),
    *(("comparison", size, scheme) for size, scheme in (("wide", "light"), ("wide", "dark"), ("phone", "light"))),
    ("fleet", "wide", "light"), ("fleet", "phone", "dark"), ("fleet", "tablet", "dark"), ("fleet", "phone", "light"),
    ("promoted", "tablet", "light"), ("promoted", "phone", "light"), ("history", "phone", "dark"),
    *((name, "phone", "dark") for name in ("failed", "incomplete", "stopped by diagnose")),
    *(("refused by gate", size, scheme) for size, scheme in (("wide", "dark"), ("phone", "light"), ("phone", "dark"))),
]


@pytest.mark.parametrize(("name", "size", "scheme"), LOOKS)
def test_accessible_and_within_the_window(opened: Opener, name: str, size: str, scheme: str) -> None:
    page = opened(name, size, scheme)
    page.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    found = axe_api.Axe().run(page).response["violations"]
    serious = [f"{item['id']}: {item['nodes'][0]['html'][:200]}" for item in found]
    assert serious == []
    if SCREENSHOTS:
        page.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = false))")
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}-{size}-{scheme}.png".replace(" ", "-"), full_page=True)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", hostile_runs.HOSTILE)
def test_hostile_text_does_no_harm(opened: Opener, name: str, size: str) -> None:
    page = opened(name, size)
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("document.scripts.length") == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    assert page.locator("h1").inner_text().endswith("Failed")
    assert page.locator("#limits").is_visible()


def test_the_policy_blocks_scripts_that_are_not_the_pages(opened: Opener) -> None:
    heard: list[str] = []
    page = opened("failed", heard=lambda message: heard.append(message.text))
    page.evaluate(
        "const script = document.createElement('script'); script.textContent = 'window.pwned = 1';"
        "document.body.append(script);"
    )
    assert page.evaluate("window.pwned") is None
    assert "Content Security Policy" in heard[0]


def test_numbers_are_those_of_metrics_json(opened: Opener) -> None:
    page = opened("promoted")
    metrics: Any = published(summarise(runs.promoted()))["metrics.json"]
    for place, row in enumerate(page.locator("#metrics table").first.locator("tbody tr").all()):
        for label, of in (("Base", metrics.base), ("Candidate", metrics.candidate), ("Champion", metrics.champion)):
            metric, cell = of.metrics[place], row.locator(f'td[data-label="{label}"]')
            assert row.locator("th").inner_text() == metric.benchmark
            assert float(cell.get_attribute("data-value")) == metric.value
            low, high = (f"{100 * limit:.1f}" for limit in (metric.interval.low, metric.interval.high))
            assert cell.inner_text().split() == [f"{100 * metric.value:.1f}", "%", f"[{low},", f"{high}]"]


def test_tables_sort_by_mouse_and_keyboard(opened: Opener) -> None:
    page = opened("promoted")
    table = page.locator("#metrics table").first  # another one has what was published
    button = table.get_by_role("button", name="Candidate")

    def values() -> list[float]:
        return [float(cell.get_attribute("data-value")) for cell in table.locator('td[data-label="Candidate"]').all()]

    unsorted = values()
    button.click()
    assert values() == sorted(unsorted)
    assert table.locator('th[aria-sort="ascending"]').inner_text().startswith("Candidate")
    button.press("Enter")
    assert values() == sorted(unsorted, reverse=True)
    table.get_by_role("button", name="Benchmark").click()
    names = table.locator("tbody th").all_inner_texts()
    assert names == sorted(names)


def test_samples_are_filtered_by_benchmark_verdict_and_change(opened: Opener) -> None:
    page = opened("promoted")
    section = page.locator("#samples")
    rows = section.locator("tbody tr:visible")
    assert rows.count() == 60
    section.locator(".filters").get_by_label("Benchmark").select_option("harmbench")
    assert rows.count() == 20
    section.locator(".filters").get_by_label("Base").select_option("unsafe")
    assert rows.count() == 10
    assert section.locator("output").inner_text() == "10 of 60 rows"
    section.locator(".filters").get_by_label("Changed").select_option("no")
    assert rows.count() == 0
    section.locator(".filters").get_by_label("Base").select_option("")
    assert rows.count() == 10
    section.get_by_role("button", name="Sample").click()
    section.get_by_role("button", name="Sample").click()
    names = [name.split("-")[1] for name in section.locator("tbody tr:visible th").all_inner_texts()]
    assert names == sorted(names, key=int, reverse=True)


def test_everything_that_acts_is_reached_by_the_keyboard(opened: Opener) -> None:
    page = opened("promoted")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(200):
        reached.add(page.evaluate("document.activeElement.outerHTML.slice(0, 120)"))
        page.keyboard.press("Tab")
    wanted = page.evaluate(
        "[...document.querySelectorAll('a, button, summary, select, .scroll')].filter((e) => e.checkVisibility())"
        ".map((e) => e.outerHTML.slice(0, 120))"
    )
    assert set(wanted) <= reached


def test_readable_without_script(opened: Opener) -> None:
    page = opened("refused by gate", java_script_enabled=False)
    decision: Any = published(summarise(runs.refused()))["decision.json"]
    assert page.locator("#decision tbody tr").count() == len(decision.checks)
    assert page.locator("button").count() == 0


def test_one_size_of_each_picture_is_shown(opened: Opener) -> None:
    for size, shown in (("wide", "wide"), ("tablet", "wide"), ("phone", "narrow")):
        page = opened("promoted", size)
        charts = page.locator("svg.chart")
        visible = [chart.get_attribute("class") for chart in charts.all() if chart.is_visible()]
        assert visible == [f"chart {shown}"] * (charts.count() // 2)
        smallest = page.evaluate(
            "Math.min(...[...document.querySelectorAll('svg.chart text')].filter((e) => e.checkVisibility())"
            ".map((e) => e.getBoundingClientRect().height))"
        )
        assert smallest >= 11


def test_print_is_black_on_white_in_the_dark_too(opened: Opener) -> None:
    page = opened("promoted", scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    assert len(page.pdf()) > 10_000


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", hostile_runs.HOSTILE)
def test_hostile_names_in_a_fleet_do_no_harm(opened: Opener, name: str, size: str) -> None:
    page = opened(f"fleet/{name}", size)
    page.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("document.scripts.length") == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    assert page.locator("#models tbody tr").count() == 9


def test_a_fleet_is_readable_without_script(opened: Opener) -> None:
    page = opened("fleet", java_script_enabled=False)
    rows = page.locator("#models tbody tr")
    assert rows.count() == 9
    assert rows.first.locator("th").inner_text().startswith("alarm")
    assert "Alarm" in rows.first.inner_text()
    page.locator("#m0 summary").click()
    assert page.locator("#m0 .pictures svg").first.is_visible()


def test_a_link_to_a_model_opens_it_and_its_pictures_are_drawn(opened: Opener) -> None:
    page = opened("fleet")
    page.locator("#models").get_by_role("link", name="alarm").click()
    assert page.locator("#m0").get_attribute("open") is not None
    drawn = page.evaluate(
        "[...document.querySelectorAll('#m0 .pictures use')].map((use) => use.getBoundingClientRect().width)"
    )
    assert len(drawn) == 5
    assert min(drawn) > 50
    colour = page.evaluate("getComputedStyle(document.querySelector('#models path.a')).stroke")
    assert colour == "rgb(165, 42, 34)"


def test_a_fleet_is_filtered_by_state(opened: Opener) -> None:
    page = opened("fleet")
    page.locator("#models .filters").get_by_label("State").select_option("Overdue")
    assert len(page.locator("#models tbody tr:visible th").all_inner_texts()) == 1
