"""False alarms and power of drift in a small sample of what scripts/simulate_drift.py runs in full, and the script's
own parts. Seeds are fixed, so a result never changes by itself."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections import Counter
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import simulate_drift

WINDOWS = 6
SMALL = dataclasses.replace(simulate_drift.CELLS["none_100"], windows=WINDOWS, decimals=1)
LARGE = dataclasses.replace(simulate_drift.CELLS["none_1000"], windows=WINDOWS, decimals=1)
MOVED = dataclasses.replace(LARGE, shift=0.6, category_shift=0.2)
CELLS = [SMALL] * 15 + [LARGE] * 4 + [MOVED] * 2


@pytest.fixture(scope="module")
def judged(warehouse_factory) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All series in one run, and those of 1,000 rows without drift a second time, as if rows were independent."""
    warehouse = warehouse_factory("duckdb")
    simulate_drift.simulate(warehouse.connection, CELLS, simulate_drift.seeded("test", 0))
    settings = simulate_drift.variables(CELLS)
    (monitor,) = settings["drift_monitors"]
    warehouse.execute("create view raw.without_users as select * from raw.rows where series between 15 and 18")
    again = {"name": "without_users", "relation": "raw.without_users", "unit_column": None}
    settings["drift_monitors"].append({**monitor, **again})
    warehouse.dbt("run", vars=settings, select="+drift_summary")
    tests = warehouse.sql(f"select * from {warehouse.mart_schema}.int_drift_tests")
    summary = warehouse.mart("drift_summary")
    warehouse.close()
    return summary, tests


def counted(
    judged: tuple[pd.DataFrame, pd.DataFrame], cell: simulate_drift.Cell, monitor: str = "in_turn"
) -> dict[str, dict[str, float]]:
    places = [place for place, item in enumerate(CELLS) if item is cell]
    first, last = (simulate_drift.START + pd.Timedelta(days=cell.days * day) for day in (places[0], places[-1] + 1))
    frames = []
    for frame in judged:
        at = pd.to_datetime(frame.window_start)
        frames.append(frame[(frame.monitor_name == monitor) & (at >= first) & (at < last)])
    return simulate_drift.count(*frames, cell, len(places))


def test_nothing_is_raised_without_drift(judged) -> None:
    """A monitor that raised a quarter of such series would come through with a probability of .75^19, 0.4%."""
    for cell, series in [(SMALL, 15), (LARGE, 4)]:
        counts = counted(judged, cell)
        assert counts["all"]["series"] == series
        assert counts["all"]["series_raised"] == 0
        assert counts["x:distribution"]["tests"] == series * WINDOWS
        missed = [text for name in counts for text in simulate_drift.judge(cell, name, Counter(counts[name]))]
        assert not missed, missed
    # PSI by itself would have raised every one of the small series.
    assert counted(judged, SMALL)["all"]["series_above"] == 15


def test_rows_taken_for_independent_raise_false_alarms(judged) -> None:
    """What the test above says rests on the users: without them there is more in the same rows than there is."""
    share = {}
    for monitor in ("in_turn", "without_users"):
        counts = counted(judged, LARGE, monitor)["topic:distribution"]
        share[monitor] = counts["p05"] / counts["tests"]
    # Five rows of a user with a correlation of one half: chi-square is about three times what it should be.
    assert share["in_turn"] < 0.15
    assert share["without_users"] > 0.25


def test_a_strong_shift_is_found_at_once(judged) -> None:
    counts = counted(judged, MOVED)
    for item in ("x", "topic"):
        assert counts[item]["sustained_by_third"] == 2
        assert counts[item]["first_1"] == 2
        assert counts[item]["raised"] == 2 * WINDOWS
    assert counts["tokens"]["raised"] == counts["flag"]["raised"] == 0


# The script's parts.


def drawn(cell: simulate_drift.Cell, run: int = 0) -> pd.DataFrame:
    return simulate_drift.draw(simulate_drift.seeded("parts", run), cell).to_pandas()


def correlation_within(values: pd.Series, users: pd.Series) -> float:
    """Of two rows of a user, by analysis of variance."""
    groups = values.groupby(users)
    size = len(values) / groups.ngroups
    between = size * groups.mean().var(ddof=1)
    within = groups.var(ddof=1).mean()
    return (between - within) / (between + (size - 1) * within)


def test_what_is_drawn_is_what_is_said() -> None:
    cell = dataclasses.replace(simulate_drift.CELLS["new_users_1000"], n=4_000)
    rows = drawn(cell)
    assert rows.groupby("day").size().tolist() == [4_000] * cell.days
    assert rows.groupby("user_id").size().eq(simulate_drift.ROWS_PER_USER).all()
    assert rows.groupby("user_id").day.nunique().eq(1).all()
    assert rows.is_missing.mean() == pytest.approx(0.02, abs=0.002)
    assert (rows.x.mean(), rows.x.std()) == (pytest.approx(0, abs=0.02), pytest.approx(1, abs=0.02))
    assert rows.topic.value_counts(normalize=True).tolist() == pytest.approx([0.25] * 4, abs=0.01)
    assert rows.flag.mean() == pytest.approx(0.3, abs=0.01)
    assert rows.tokens.median() == pytest.approx(20, abs=1)
    for column in (rows.x, np.log(rows.tokens + 0.5), rows.flag.astype(float), (rows.topic == 0).astype(float)):
        assert correlation_within(column, rows.user_id) == pytest.approx(0.5, abs=0.02)


def test_users_come_back_where_they_are_not_new() -> None:
    rows = drawn(simulate_drift.CELLS["none_1000"])
    assert rows.user_id.nunique() == 800
    assert rows.groupby("day").user_id.nunique().eq(200).all()


def test_a_shift_is_as_large_as_it_is_said_to_be_and_begins_with_the_first_window() -> None:
    cell = simulate_drift.CELLS["shift_10000"]
    rows = drawn(cell)
    is_after = rows.day >= simulate_drift.REFERENCE_DAYS
    assert is_after.sum() == cell.n * cell.windows
    # Eight thousand users and ten or 28 days: a mean over all of one side has an error below .01.
    assert rows.x[is_after].mean() - rows.x[~is_after].mean() == pytest.approx(0.2, abs=0.02)
    is_first = rows.topic == 0
    assert is_first[is_after].mean() - is_first[~is_after].mean() == pytest.approx(0.1, abs=0.01)
    assert rows.flag[is_after].mean() - rows.flag[~is_after].mean() == pytest.approx(0, abs=0.01)


def test_the_seed_decides_the_data() -> None:
    cell = simulate_drift.CELLS["none_100"]
    assert drawn(cell).equals(drawn(cell))
    assert not drawn(cell).equals(drawn(cell, run=1))
    query = "select series, sum(tokens), count(x) from raw.rows group by series order by series"
    connection = duckdb.connect()
    simulate_drift.simulate(connection, [cell, cell], simulate_drift.seeded("parts", 0))
    first, second = connection.execute(query).fetchall()
    assert first[1] == drawn(cell).tokens.sum() != second[1]
    assert first[2] == (~drawn(cell).is_missing).sum()


def test_counts_of_a_small_case() -> None:
    """Two series of two windows, one after the other: the first is raised in both, and much that does not count."""
    cell = dataclasses.replace(SMALL, windows=2)
    rows = [
        (simulate_drift.START + pd.Timedelta(days=day), item, 0.2 if item == "flag" else 0.01, 2.0)
        for day in range(2 * cell.days)
        for item in cell.items
    ]
    summary = pd.DataFrame(rows, columns=["window_start", "feature_name", "psi", "design_effect"])
    day = (summary.window_start - simulate_drift.START).dt.days
    is_raised = (day < cell.days) & (summary.feature_name == "x") | day.between(cell.days, cell.days + 27)
    summary = summary.assign(
        monitor_name="in_turn", status=np.where(is_raised, "warn", "ok"), is_sustained=is_raised & (day > 0)
    )
    tests = pd.DataFrame(
        [(27, 0.0001), (28, 0.0001), (29, 0.0002), (58, 0.04), (59, 0.06)], columns=["day", "p_value"]
    ).assign(monitor_name="in_turn", item_name="x", test_name="distribution")
    tests["window_start"] = simulate_drift.START + pd.to_timedelta(tests.day, unit="D")
    counts = simulate_drift.count(summary, tests, cell, 2)
    assert counts["all"] == {
        "series": 2, "series_raised": 1, "series_above": 2, "windows": 4, "windows_raised": 2, "windows_above": 4
    }  # fmt: skip
    assert counts["x"]["raised"] == 2 and counts["x"]["sustained_by_third"] == counts["x"]["first_1"] == 1
    # Sustained, but by windows before the first.
    assert counts["tokens"]["raised"] == counts["tokens"]["sustained_by_third"] == 0
    assert counts["flag"]["above"] == 4 and counts["flag"]["psi"] == pytest.approx(0.8)
    assert counts["x:distribution"] == {
        "series": 2, "tests": 4, "p05": 3, "p05_squared": 5, "p001": 2, "p001_squared": 4
    }  # fmt: skip
    with pytest.raises(RuntimeError, match="15 rows"):
        simulate_drift.count(summary.iloc[:-1], tests, cell, 2)


def test_the_error_of_a_share_takes_series_not_rows_as_independent() -> None:
    per_series = np.random.default_rng(1).poisson(3, 400)
    found = simulate_drift.standard_error(per_series.sum(), (per_series**2).sum(), 400, 400 * 30)
    assert found == pytest.approx(per_series.std(ddof=1) / 20 / 30, rel=1e-9)
    assert simulate_drift.standard_error(0, 0, 1, 30) == math.inf


NONE, SHIFT = simulate_drift.CELLS["none_100"], simulate_drift.CELLS["shift_10000"]


@pytest.mark.parametrize(
    ("cell", "name", "counts", "bar"),
    [
        (NONE, "all", {"series": 500, "series_raised": 25}, None),
        (NONE, "all", {"series": 500, "series_raised": 26}, "26 of 500 series raised something, more than 5%"),
        (NONE, "all", {"series": 12, "series_raised": 2}, None),
        (NONE, "all", {"series": 12, "series_raised": 4}, "4 of 12 series raised something, more than 5%"),
        (NONE, "x:distribution", {"series": 500, "tests": 15_000, "p05": 750, "p05_squared": 2_600}, None),
        (NONE, "x:distribution", {"series": 500, "tests": 15_000, "p05": 1_050, "p05_squared": 3_900},
         "p < .05 in 7.00% of 15,000 tests, above 5.5%"),
        (NONE, "x:distribution", {"series": 500, "tests": 15_000, "p001": 15, "p001_squared": 20}, None),
        (NONE, "x:distribution", {"series": 500, "tests": 15_000, "p001": 75, "p001_squared": 120},
         "p < .001 in 0.50% of 15,000 tests, above 0.2%"),
        (SHIFT, "all", {"series": 20, "series_raised": 20}, None),
        (SHIFT, "x", {"series": 20, "sustained_by_third": 19}, None),
        (SHIFT, "x", {"series": 20, "sustained_by_third": 18}, "sustained by the third window in 90%, below 95%"),
    ],
)  # fmt: skip
def test_every_bar_can_be_missed(cell: simulate_drift.Cell, name: str, counts: dict[str, int], bar: str | None) -> None:
    assert simulate_drift.judge(cell, name, Counter(counts)) == ([] if bar is None else [bar])
