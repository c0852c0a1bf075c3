"""Crons against robfig/cron 1.2, which Kubeflow's controller of recurring runs uses."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from thinksafe.config.cron import FIELDS, parse

EVERY = tuple(frozenset(range(bounds.low, bounds.high + 1)) for bounds in FIELDS)


@st.composite
def parts(draw, place):
    """A part of a field and the numbers that robfig/cron takes it for."""
    low, high, names = FIELDS[place].low, FIELDS[place].high, FIELDS[place].names
    first = draw(st.integers(low, high))
    last = draw(st.integers(first, high))
    step = draw(st.integers(1, 70))

    def shown(number):
        if names and draw(st.booleans()):
            return draw(st.sampled_from((str.upper, str.lower, str.title)))(names[number - low])
        return f"{number:02d}" if draw(st.booleans()) else str(number)

    text, numbers = draw(st.sampled_from([
        ("*", range(low, high + 1)), ("?", range(low, high + 1)), (f"*/{step}", range(low, high + 1, step)),
        (shown(first), range(first, first + 1)), (f"{shown(first)}-{shown(last)}", range(first, last + 1)),
        (f"{shown(first)}/{step}", range(first, high + 1, step)),
        (f"{shown(first)}-{shown(last)}/{step}", range(first, last + 1, step)),
    ]))
    return text, frozenset(numbers)


@given(st.data())
def test_what_robfig_takes_is_taken_for_the_same_times(data):
    fields = [data.draw(st.lists(parts(place), min_size=1, max_size=3)) for place in range(6)]
    texts = [",".join(text for text, _ in field) for field in fields]
    numbers = tuple(frozenset().union(*(found for _, found in field)) for field in fields)
    text = data.draw(st.sampled_from((" ", "  ", "\t"))).join(texts)
    longest = 31 if numbers[4] & {1, 3, 5, 7, 8, 10, 12} else 30 if numbers[4] - {2} else 29
    if min(numbers[3]) > longest and any(sign in texts[5] for sign in "*?"):
        with pytest.raises(ValueError, match="can never fire"):
            parse(text)
        return
    cron = parse(text)
    assert cron[:6] == numbers
    assert cron.any_day == any(sign in texts[3] for sign in "*?")


@given(st.integers(0, 5), st.integers(0, 99))
def test_a_number_outside_its_field_is_refused(place, number):
    assume(number not in EVERY[place])
    fields = ["0", "0", "0", "1", "*", "*"]
    fields[place] = str(number)
    with pytest.raises(ValueError, match=FIELDS[place].name):
        parse(" ".join(fields))


@given(st.text("0123456789*/,?-ABMOND@ \t", max_size=24))
def test_no_text_fails_but_with_a_reason(text):
    with suppress(ValueError):
        cron = parse(text)
        assert len(text.split()) == 6
        assert all(cron[:6])
        assert all(found <= every for found, every in zip(cron[:6], EVERY, strict=True))


@pytest.mark.parametrize(
    "cron",
    [
        "", "0 0 3 * *", "0 0 3 * * 0 2026", "@daily", "@every 1h", "0 0 3 * * 7", "0 0 3 * * SUNDAY", "0 0 3 * 0 *",
        "60 0 3 * * *", "0 0 24 * * *", "0 0 3 32 * *", "0 0 3 * 13 *", "0 0 5-3 * * *", "0 0 3 * * FRI-MON",
        "0 0 1-2-3 * * *", "0 0 1/2/3 * * *", "0 */0 3 * * *", "0 0 *-5 * * *", "0 0 , * * *", "0 0 1,,2 * * *",
        "0 0 +3 * * *", "0 0 -3 * * *", "0 0 3 L * *", "0 0 3 * * 1#2", "0 0 3 MON * *", "0 0 ٣ * * *",
        "0 0 3 30 2 *", "0 0 3 31 4,6,9,11 ?", "CRON_TZ=UTC 0 3 * * 0",
    ],
)
def test_what_robfig_refuses_or_never_reaches_is_refused(cron):
    with pytest.raises(ValueError, match=r"fields| is not a valid |step|backwards|can never"):
        parse(cron)


@pytest.mark.parametrize(
    "cron", ["0 0 3 29 2 *", "0 0 3 31 2 MON", "0 0 3 31 * ?", "0 0 0 1 JAN ?", "*/7 0/15 ? * * *"]
)
def test_rare_times_are_taken(cron):
    parse(cron)


TIMES = st.datetimes(datetime(2024, 1, 1), datetime(2104, 1, 1), timezones=st.just(UTC))


@given(TIMES, st.data())
def test_the_next_time_is_the_first_that_matches(time, data):
    fields = [data.draw(st.lists(parts(place), min_size=1, max_size=2)) for place in range(6)]
    texts = [",".join(text for text, _ in field) for field in fields]
    try:
        cron = parse(" ".join(texts))
        found = cron.after(time)
    except ValueError:
        return

    def on(day):
        in_month, in_week = day.day in cron.days, (day.weekday() + 1) % 7 in cron.weekdays
        starred = any(sign in field for field in (texts[3], texts[5]) for sign in "*?")
        return day.month in cron.months and (in_month and in_week if starred else in_month or in_week)

    assert found > time
    assert on(found)
    assert (found.hour in cron.hours, found.minute in cron.minutes, found.second in cron.seconds) == (True, True, True)
    days = (time + timedelta(days=number) for number in range(1, (found.date() - time.date()).days))
    assert not any(on(day) for day in days)
    earlier = max(time, datetime(found.year, found.month, found.day, tzinfo=UTC) - timedelta(seconds=1))
    for back in range(1, min(3600, int((found - earlier).total_seconds()))):
        before = found - timedelta(seconds=back)
        assert not (before.hour in cron.hours and before.minute in cron.minutes and before.second in cron.seconds)


@pytest.mark.parametrize(
    ("cron", "time", "following"),
    [
        ("0 0 3 * * 0", "2026-11-29T02:59:59", "2026-11-29T03:00:00"),
        ("0 0 3 * * 0", "2026-11-29T03:00:00", "2026-12-06T03:00:00"),
        ("0 0 3 29 2 *", "2096-03-01T00:00:00", "2104-02-29T03:00:00"),
        ("0 0 3 13 * FRI", "2026-11-30T00:00:00", "2026-12-04T03:00:00"),
        ("*/20 59 23 31 12 ?", "2026-12-31T23:59:40", "2027-12-31T23:59:00"),
    ],
)
def test_next_times(cron, time, following):
    after = parse(cron).after(datetime.fromisoformat(time).replace(tzinfo=UTC))
    assert after == datetime.fromisoformat(following).replace(tzinfo=UTC)


def test_a_time_that_is_too_far_away_is_an_error():
    with pytest.raises(ValueError, match="no time within"):
        parse("0 0 3 29 2 */6").after(datetime(2032, 3, 1, tzinfo=UTC))
