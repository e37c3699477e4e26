"""Cron lines mean what crontab(5) says."""

from __future__ import annotations

import pytest

from syncd.config.cron import parse_cron


@pytest.mark.parametrize(
    ("weekday", "days"),
    [
        ("*", (0, 1, 2, 3, 4, 5, 6)),
        ("mon-fri", (1, 2, 3, 4, 5)),
        ("1-5", (1, 2, 3, 4, 5)),
        ("0", (0,)),
        ("7", (0,)),
        ("5-7", (0, 5, 6)),
        ("fri-mon", (0, 1, 5, 6)),
        ("sun,wed", (0, 3)),
        ("*/2", (0, 2, 4, 6)),
        ("MON", (1,)),
    ],
)
def test_weekdays(weekday: str, days: tuple[int, ...]) -> None:
    assert parse_cron(f"0 0 * * {weekday}").weekdays == days


def test_the_other_fields() -> None:
    cron = parse_cron("*/20 8-18/5 1,15 jan-mar *")
    assert (cron.minutes, cron.hours, cron.days, cron.months) == ((0, 20, 40), (8, 13, 18), (1, 15), (1, 2, 3))
    assert not cron.either_day
    assert parse_cron("0 0 13 * fri").either_day
    assert parse_cron("50/3 * * * *").minutes == (50, 53, 56, 59)
    assert parse_cron("@hourly").minutes == (0,)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("* * * *", "has 4 fields"),
        ("60 * * * *", "minute: '60' is not 0-59"),
        ("* * * * moon", "day of week: 'moon' is not 0-7 or sun … sat"),
        ("*/0 * * * *", "minute: '\\*/0' is not"),
        ("30-10 * * * *", "minute: '30-10' runs backwards"),
        ("* * 0 * *", "day of month: '0' is not 1-31"),
        ("a,, * * * *", "minute"),
        ("", "has 0 fields"),
        ("0 0 31 2 *", "'0 0 31 2 \\*' never comes: no month of these has a day 31"),
        ("0 0 31 feb,apr,jun */2", "never comes"),
    ],
)
def test_faults_name_the_field(line: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_cron(line)


@pytest.mark.parametrize("line", ["0 0 29 2 *", "0 0 31 2,3 *", "0 0 31 2 mon", "0 0 */31 2 *", "0 0 30,28 feb *"])
def test_what_comes_seldom_is_no_fault(line: str) -> None:
    assert parse_cron(line)
