"""Crons as Kubeflow Pipelines reads them: six fields, seconds first, as in robfig/cron 1.2.

Kubeflow's controller does not report a cron that it cannot read, and treats one that can never fire as overdue, so both
are refused here. Days of the week go from 0 to 6 (7 is not Sunday), a list has no empty part, and a range does not run
backwards. ``@daily`` and the like are not supported, to keep ``cluster.schedule.cron`` easy to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple

_PART = re.compile(r"(?P<low>[*?]|\d{1,2}|[A-Za-z]{3})(-(?P<high>\d{1,2}|[A-Za-z]{3}))?(/(?P<step>\d{1,4}))?", re.ASCII)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST_GAP = 8 * 366
"""Days; 2100 is no leap year."""
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class _Bounds(NamedTuple):
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


FIELDS = (
    _Bounds("seconds", 0, 59), _Bounds("minutes", 0, 59), _Bounds("hours", 0, 23), _Bounds("day of the month", 1, 31),
    _Bounds("month", 1, 12, _MONTHS), _Bounds("day of the week", 0, 6, _DAYS),
)


class Cron(NamedTuple):
    """The times of a cron; each field holds its matching numbers."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    """A part of the day of the month is ``*`` or ``?``."""
    any_weekday: bool
    """The same for the day of the week. If neither is true, one of the two must match; otherwise both must."""

    def after(self, time: datetime) -> datetime:
        """Return the first time of the cron later than ``time``, to the second, in the time zone of ``time``.

        Raises:
            ValueError: there is none within the longest gap between two 29 Februaries.
        """
        day = time.date()
        for _ in range(_LONGEST_GAP):
            if self._on(day):
                for moment in self._moments(day, time):
                    if moment > time:
                        return moment
            day += timedelta(days=1)
        raise ValueError(f"has no time within {_LONGEST_GAP} days")

    def _on(self, day: date) -> bool:
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        either = self.any_day or self.any_weekday
        return day.month in self.months and (in_month and in_week if either else in_month or in_week)

    def _moments(self, day: date, time: datetime) -> Iterator[datetime]:
        """Yield the times of a day in order, but for the hours before that of ``time``."""
        first = time.hour if day == time.date() else 0
        for hour in sorted(hour for hour in self.hours if hour >= first):
            for minute in sorted(self.minutes):
                for second in sorted(self.seconds):
                    yield datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=time.tzinfo)


def parse(text: str) -> Cron:
    """Return the times of a cron.

    Raises:
        ValueError: it is not a cron, or it can never fire; names the field.
    """
    fields = text.split()
    if len(fields) != len(FIELDS):
        raise ValueError(f"this cron has {len(fields)} fields; Kubeflow's has six, seconds first: '0 0 3 * * 0'")
    seconds, minutes, hours, days, months, weekdays = map(_numbers, fields, FIELDS)
    cron = Cron(
        seconds, minutes, hours, days, months, weekdays,
        any_day=_holds_star(fields[3]), any_weekday=_holds_star(fields[5]),
    )
    longest = max(_LONGEST_MONTHS[month - 1] for month in cron.months)
    if min(cron.days) > longest and (cron.any_day or cron.any_weekday):
        raise ValueError(f"can never fire: its months have no day {min(cron.days)}")
    return cron


def _holds_star(field: str) -> bool:
    return any(part[0] in "*?" for part in field.split(","))


def _numbers(field: str, bounds: _Bounds) -> frozenset[int]:
    found: set[int] = set()
    for part in field.split(","):
        match = _PART.fullmatch(part)
        if match is None or (match["low"] in "*?" and match["high"]):
            raise ValueError(f"{part!r} is not a valid {bounds.name}: write *, a number, 1-5, */10 or a list of these")
        if match["low"] in "*?":
            low, high = bounds.low, bounds.high
        else:
            low = _number(match["low"], bounds)
            high = _number(match["high"], bounds) if match["high"] else low
            if match["step"] and not match["high"]:
                high = bounds.high  # 5/10 means 5-59/10
        step = int(match["step"] or 1)
        if step == 0:
            raise ValueError(f"{part!r} ({bounds.name}): a step is 1 or more")
        if low > high:
            raise ValueError(f"{part!r} ({bounds.name}) runs backwards; write it as two ranges")
        found.update(range(low, high + 1, step))
    return frozenset(found)


def _number(text: str, bounds: _Bounds) -> int:
    if text.lower() in bounds.names:
        return bounds.names.index(text.lower()) + bounds.low
    if not text.isdecimal():
        raise ValueError(f"{text!r} is not a valid {bounds.name}")
    number = int(text)
    if not bounds.low <= number <= bounds.high:
        raise ValueError(f"{number} is not a valid {bounds.name}: write {bounds.low} to {bounds.high}")
    return number
