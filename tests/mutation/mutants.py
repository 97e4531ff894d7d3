"""Every edge in time of the engine, with the change that moves it by a hair, and the tests that should notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tests:
    """What pytest is asked to run: files, and an expression that picks tests of them."""

    files: tuple[str, ...]
    picked: str = ""


@dataclass(frozen=True)
class Mutant:
    """`edge`: the rule, in words. `before` stands once in `file`; `after` takes its place."""

    edge: str
    file: str
    before: str
    after: str
    tests: Tests


def _cases(*files: str) -> Tests:
    """Conformance cases, answered by the engine."""
    return Tests(("tests/conformance/test_conformance.py",), f"engine and ({' or '.join(files)})")


def _files(*names: str) -> Tests:
    return Tests(tuple(f"tests/{name}.py" for name in names))


_ROWS, _SPANS, _FACTS, _JOINS = (f"transforms/fact_sql/{name}.py" for name in ("rows", "spans", "facts", "joins"))
_CALENDAR, _TIMELINE, _DAILY, _STRETCHES = (f"transforms/{name}.py" for name in ("calendar", "timeline", "daily", "stretches"))

MUTANTS = (
    # ---- what is known, and what has happened
    Mutant("an event counts when it happened before T", _ROWS, 'f"greatest({event} + 1, {noticed})"', 'f"greatest({event}, {noticed})"', _cases("11_", "12_")),
    Mutant("known counts up to T + grace, inclusive", _ROWS, 'f"{known} - cast({grace} as bigint)"', 'f"{known} + 1 - cast({grace} as bigint)"', _cases("05_")),
    Mutant("known does not count after T + grace", _ROWS, 'f"{known} - cast({grace} as bigint)"', 'f"{known} - 1 - cast({grace} as bigint)"', _cases("05_")),
    Mutant("a version counts up to the next one, exclusive", _ROWS, 'f"coalesce(min({KNOWN[0]}) over w, {ALWAYS})"', 'f"coalesce(min({KNOWN[0]}) over w + 1, {ALWAYS})"', _cases("06_")),
    Mutant("of a day's end what happened before it", _ROWS, 'NEVER_YET if always else f"{event} + 1"', 'NEVER_YET if always else f"{event}"', _cases("19_")),
    Mutant("a mutable timestamp has passed when it is before T", _SPANS, 'dialect.list(*(f"{moment} + 1" for moment in passed.values()))', 'dialect.list(*(f"{moment}" for moment in passed.values()))', _cases("07_")),
    Mutant("and not when it is T", _SPANS, 'f"{passed[name]} < {OPENS}"', 'f"{passed[name]} <= {OPENS}"', _cases("07_")),
    Mutant("valid from T on (one cut-off)", _TIMELINE, "facts.valid_from <= last,", "facts.valid_from < last,", _cases("01_", "05_")),
    Mutant("valid until T, exclusive (one cut-off)", _TIMELINE, "facts.valid_until > last,", "facts.valid_until >= last,", _cases("06_", "12_")),
    Mutant("valid from T on (many cut-offs)", _TIMELINE, "self.facts.valid_from[positions] <= cut_off", "self.facts.valid_from[positions] < cut_off", _files("transforms/test_judged_facts")),
    Mutant("valid until T, exclusive (many cut-offs)", _TIMELINE, "cut_off < self.facts.valid_until[positions]", "cut_off <= self.facts.valid_until[positions]", _files("transforms/test_judged_facts")),
    # ---- windows
    Mutant("a window holds its start and not its end", _TIMELINE, "np.cumsum(at < moment[0])", "np.cumsum(at <= moment[0])", _cases("02_")),
    Mutant("the same where cut-offs differ", _TIMELINE, "oldest + span - 1) - oldest)", 'oldest + span - 1) - oldest, side="right")', _files("transforms/test_timeline")),
    Mutant("and where moments lie too far apart for one number", _TIMELINE, "at[np.minimum(middle, len(at) - 1)] < moment", "at[np.minimum(middle, len(at) - 1)] <= moment", _files("transforms/test_timeline")),
    Mutant("a fact that is known late is looked up by when it is known", _TIMELINE, "first < end, first <= after", "first < end, first <= after + 1", _files("transforms/test_timeline", "transforms/test_judged_facts", "transforms/test_many_cut_offs")),
    Mutant("the same of windows of many days", _TIMELINE, 'np.searchsorted(moments, self._at, side="right")', 'np.searchsorted(moments, self._at, side="left")', _files("transforms/test_timeline", "transforms/test_engine")),
    Mutant("W days begin with the midnight of D - W + 1", _CALENDAR, "return after - window.count, after", "return after - window.count + 1, after", _cases("02_")),
    Mutant("and no day earlier", _CALENDAR, "return after - window.count, after", "return after - window.count - 1, after", _cases("02_")),
    Mutant("a window ends at T, where that is no midnight", _CALENDAR, "np.minimum(midnights_of(after, zone), cut_off)", "midnights_of(after, zone)", _files("transforms/test_calendar")),
    Mutant("a window ahead ends with the W days after D", _CALENDAR, "midnights_of(as_of + window.count + 1, zone)", "midnights_of(as_of + window.count, zone)", _cases("13_")),
    Mutant("days at which a window holds other facts are answered apart", _TIMELINE, "for edge in (self.first, self.low, self.high)", "for edge in (self.first, self.low)", _files("transforms/test_timeline")),
    Mutant("and those at which something else is known", _TIMELINE, "            differs[1:] |= np.diff(knowledge()) != 0\n", "", _files("transforms/test_timeline")),
    Mutant("a fact ahead is known at T, not when its time comes", _TIMELINE, "self._validity.lasts & (self.facts.valid_from <= self._cut_offs[:1])", "self._validity.lasts & self._validity.in_time", _files("transforms/test_timeline", "transforms/test_many_cut_offs")),
    Mutant("a lagged window ends n days before T", _CALENDAR, "days = as_of - lag\n", "days = as_of - lag + (lag > 0)\n", _cases("04_")),
    Mutant("a month to date begins with the first of D's month", _CALENDAR, "return months_later(days, 0), after", "return months_later(days + 1, 0), after", _cases("03_")),
    Mutant("a month that ends at T is one of the full ones", _CALENDAR, "months_later(days + (over if lag == 0 else True), 0)", "months_later(days, 0)", _cases("03_")),
    Mutant("a month that isn't over at T is none", _CALENDAR, "over=cut_off == day_ends", "over=True", _files("transforms/test_calendar")),
    Mutant("an instant at midnight lies on the day that begins", _CALENDAR, "instants >= midnights_of(guess + 1, zone)", "instants > midnights_of(guess + 1, zone)", _files("transforms/test_calendar")),
    Mutant("east and west of UTC", _CALENDAR, "instants < midnights_of(guess, zone)", "instants <= midnights_of(guess, zone)", _files("transforms/test_calendar")),
    # ---- states, parents, payments
    Mutant("a state holds when `from` is before T", _FACTS, 'greatest({since}, {moment} + 1) end"', 'greatest({since}, {moment}) end"', _cases("12_")),
    Mutant("a state holds when `until` isn't before T", _FACTS, '{_moment(clock.until)} + 1)"', '{_moment(clock.until)})"', _cases("12_")),
    Mutant("a parent brings its columns from the moment it is known", _JOINS, 'there = f"_there <= {KNOWN[0]}"', 'there = f"_there < {KNOWN[0]}"', _cases("17_")),
    Mutant("a payment counts from the moment it is known", _JOINS, 'f"c.opens <= {OPENS} and {OPENS} < c.closes"', 'f"c.opens < {OPENS} and {OPENS} < c.closes"', _cases("18_")),
    Mutant("an amended payment counts until then", _JOINS, 'f"c.opens <= {OPENS} and {OPENS} < c.closes"', 'f"c.opens <= {OPENS} and {OPENS} <= c.closes"', _cases("18_")),
    Mutant("of a day's end the payments before it", _JOINS, 'f"c.since <= {OPENS} and {OPENS} < c.till"', 'f"c.since < {OPENS} and {OPENS} < c.till"', _cases("18_", "19_")),
    Mutant("paid when all that is due is", _JOINS, "when {total} >= _due then", "when {total} > _due then", _cases("18_")),
    # ---- values of every day
    Mutant("a daily state holds when `from` is before the day's end", _FACTS, 'held = (f"{since} - 1",', 'held = (f"{since}",', _files("transforms/test_prepare_duckdb", "transforms/test_daily")),
    Mutant("a daily state holds when `until` isn't before the day's end", _FACTS, "else {till} - 1 end", "else {till} end", _files("transforms/test_prepare_duckdb", "transforms/test_daily")),
    Mutant("what ceases at T still holds at T", _DAILY, "passed = ends < timeline.queries.cut_off[group]", "passed = ends <= timeline.queries.cut_off[group]", _files("transforms/test_daily")),
    Mutant("`within` W days of a point", _DAILY, "return since, since + window.count", "return since, since + window.count + 1", _files("transforms/test_daily")),
    Mutant("`within` months of a point", _DAILY, "first_of_month(month + window.count + 1) - 1", "first_of_month(month + window.count + 1)", _files("transforms/test_daily")),
    Mutant("a stretch ends where a fact ceases", _DAILY, "for edges in (points.begins, spans.low, spans.high)", "for edges in (points.begins, spans.low, spans.low)", _files("transforms/test_daily")),
    Mutant("a stretch begins where a fact does", _DAILY, "for edges in (points.begins, spans.low, spans.high)", "for edges in (points.begins, spans.high, spans.high)", _files("transforms/test_daily")),
    Mutant("what reads the day is asked of each at which a fact holds", _DAILY, "np.where(nothing, start[:-1] + 1, start[1:])", "start[:-1] + 1", _files("transforms/test_daily")),
    Mutant("and of each other where it differs", _DAILY, "        if self._says_the_same_of_nothing(column):\n", "        if True:\n", _files("transforms/test_daily")),
    Mutant("of a window's first and last stretch the days inside it", _STRETCHES, "points - self.stretches.start[place]", "self.stretches.length[np.minimum(place, len(self.stretches) - 1)]", _files("transforms/test_stretches")),
    Mutant("stretches of two groups stay apart", _STRETCHES, "        begins[self.at(apart[apart < self.start[-1]])] = True\n", "", _files("transforms/test_stretches")),
    Mutant("what looks back sees the day before the first event", _DAILY, "np.minimum(first, began - 1)", "np.minimum(first, began)", _cases("19_")),
    Mutant("a lifetime of days begins with the first event's", _DAILY, "first = np.minimum(began, after)", "first = np.minimum(began + 1, after)", _cases("19_")),
    Mutant("a day that isn't over ends no month", _DAILY, "unfinished = queries.cut_off < midnights_of(queries.as_of + 1, self._timeline.zone)", "unfinished = queries.cut_off < midnights_of(queries.as_of, self._timeline.zone)", _files("transforms/test_daily")),
    # ---- training sets
    Mutant("D of a label is the local day of T - 1 µs", "transforms/training_rows.py", "local_days_of(time - 1, self.zone)", "local_days_of(time, self.zone)", _files("transforms/test_training_rows")),
    Mutant("by day, D is the day before the label's", "transforms/training_rows.py", "as_of = day - self.days_before\n", "as_of = day - self.days_before + 1\n", _files("transforms/test_training_rows")),
    Mutant("a horizon of days ends with the last of them", "transforms/training_rows.py", "return as_of + self.horizon.count", "return as_of + self.horizon.count + 1", _files("transforms/test_training_rows")),
    Mutant("a horizon of months ends the day before", "transforms/training_rows.py", "np.minimum(day_of_month, length - 1) - 1", "np.minimum(day_of_month, length - 1)", _files("transforms/test_training_rows")),
    Mutant("to the microsecond there is no grace", "transforms/training_sets.py", 'update={"grace": timedelta()}', 'update={"grace": source.grace}', _files("transforms/test_training_rows")),
    # ---- what a group's Python function is given
    Mutant("a function is given what happened before T", "transforms/as_of.py", 'F.unix_micros("_event_time") < cut_off', 'F.unix_micros("_event_time") <= cut_off', _files("transforms/test_as_of")),
    Mutant("a function is given what was known by T + grace", "transforms/as_of.py", 'F.unix_micros("_known_time") <= cut_off + grace', 'F.unix_micros("_known_time") < cut_off + grace', _files("transforms/test_as_of")),
    Mutant("a function reads as null what has not passed at T", "transforms/as_of.py", "F.unix_micros(F.col(f\"`{moment}`\")) < cut_off", "F.unix_micros(F.col(f\"`{moment}`\")) <= cut_off", _files("transforms/test_as_of")),
)  # fmt: skip
"""A mutant that means the same can't be noticed and isn't here: an empty span more, for example, or a fact judged one by one."""
