"""Drift, simulated: series with and without a shift go through dbt, and what was raised is counted.

    python scripts/simulate_drift.py                          everything; resumes where an earlier run stopped
    python scripts/simulate_drift.py --cell none_100          one cell, or several
    python scripts/simulate_drift.py --series 50              a small sample of every cell
    python scripts/simulate_drift.py --document               write the results so far into docs/calibration.md

A series has so many rows on each of its days, and every day is a window. Users have five rows on a day, and half of
the variance of every column lies between users. One run of dbt judges many series. With a trailing reference they
follow one another in the relation of one monitor, and windows whose reference reaches into another series are not
counted. (Design effects of numbers score reference days by the deciles of earlier windows; that changes them by about
a percent.) With a fixed reference each has a monitor of its own, which takes dbt far longer. Records have the form of
scripts/calibrate.py, with plain counts that add up. Seeds follow from the cell and the number of the run.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import calibrate
import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import stats
from simulate import markdown

MARKERS = ("<!-- results of drift -->", "<!-- end of results of drift -->")
START = pd.Timestamp("2024-03-04")
REFERENCE_DAYS = 28
ROWS_PER_USER = 5
# A day has a quarter of the users who come back, unless all of them are new.
POPULATION = 4
MISSING = 0.02
SHIFT = 0.2
CATEGORY_SHIFT = 0.1
# What a monitor that goes by PSI alone takes for an alert.
PSI_RULE = 0.1
# From so many series on, the share that raises anything is held against alpha as it is; fewer say too little.
ENOUGH_SERIES = 100
RESULTS = calibrate.ROOT / "bench_results" / "drift.json"

TESTS = {
    "x:distribution": "normal",
    "tokens:distribution": "integer, heavy tail",
    "topic:distribution": "category of 4",
    "flag:distribution": "flag",
    "x:missing_rate": "missing values",
    "accuracy:change": "quality",
    "accuracy:within": "quality within slices",
}


@dataclass(frozen=True)
class Cell:
    """Series of one kind."""

    label: str
    # Rows of a window.
    n: int
    series: int
    series_per_run: int
    reference: str = "trailing"
    windows: int = 30
    # What is added to the normal number, in standard deviations, and to the share of the first category.
    shift: float = 0.0
    category_shift: float = 0.0
    has_new_users: bool = False
    has_quality: bool = False
    # Decimals of the normal number; none: all of them.
    decimals: int | None = 2

    @property
    def is_shifted(self) -> bool:
        return self.shift > 0 or self.category_shift > 0

    @property
    def days(self) -> int:
        return REFERENCE_DAYS + self.windows

    @property
    def users(self) -> int:
        """Users of one day."""
        return self.n // ROWS_PER_USER

    @property
    def items(self) -> list[str]:
        return ["x", "tokens", "topic", "flag"] + ["accuracy"] * self.has_quality


def _shift(n: int, series: int, per_run: int) -> Cell:
    return Cell("shift", n, series, per_run, windows=10, shift=SHIFT, category_shift=CATEGORY_SHIFT)


CELLS = {
    "none_100": Cell("users come back, trailing reference", 100, 500, 100, decimals=None),
    "none_1000": Cell("users come back, trailing reference", 1_000, 100, 20),
    "none_100000": Cell("users come back, trailing reference", 100_000, 12, 2),
    "shift_100": _shift(100, 100, 100),
    "shift_1000": _shift(1_000, 50, 25),
    "shift_10000": _shift(10_000, 20, 10),
    "shift_100000": _shift(100_000, 8, 2),
    "new_users_100": Cell("new users every day", 100, 200, 50, has_new_users=True, decimals=None),
    "quality_100": Cell("users come back, quality too", 100, 200, 50, has_quality=True, decimals=None),
    "fixed_100": Cell("users come back, fixed reference", 100, 50, 10, "fixed", decimals=None),
    "new_users_1000": Cell("new users every day", 1_000, 100, 20, has_new_users=True),
    "quality_1000": Cell("users come back, quality too", 1_000, 100, 20, has_quality=True),
    "fixed_1000": Cell("users come back, fixed reference", 1_000, 20, 10, "fixed"),
}


def _label_of_day(day: int) -> str:
    return str((START + pd.Timedelta(days=day)).date())


def variables(cells: Sequence[Cell]) -> dict[str, Any]:
    """The package's configuration for series of these cells, alike in everything but the rows."""
    ((days, reference, has_quality, decimals),) = {
        (cell.days, cell.reference, cell.has_quality, cell.decimals) for cell in cells
    }
    monitor: dict[str, Any] = {
        "time_column": "seen_at",
        "unit_column": "user_id",
        "features": [
            {"name": "x", "kind": "numeric", "value": "x" if decimals is None else f"round(x, {decimals})"},
            {"name": "tokens", "kind": "numeric"},
            {"name": "topic", "kind": "categorical"},
            {"name": "flag", "kind": "categorical"},
        ],
    }
    if has_quality:
        monitor |= {"performance": [{"name": "accuracy", "value": "is_right"}], "slices": ["topic"]}
    if reference == "trailing":
        end = _label_of_day(len(cells) * days)
        trailing = {"kind": "trailing", "days": REFERENCE_DAYS}
        monitors = [{"name": "in_turn", "relation": "raw.rows", "reference": trailing, **monitor}]
    else:
        end = _label_of_day(days)
        fixed = {"kind": "fixed", "start": _label_of_day(0), "end": _label_of_day(REFERENCE_DAYS)}
        monitors = [
            {"name": f"m{number}", "relation": f"raw.series_{number}", "reference": fixed, **monitor}
            for number in range(len(cells))
        ]
    return {
        "raw_schema": "raw",
        "metrics": [],
        "drift_monitors": monitors,
        "analysis": {"alpha": calibrate.ALPHA, "as_of": end},
    }


def seeded(name: str, run: int) -> np.random.Generator:
    return np.random.default_rng([calibrate.SEED, zlib.crc32(name.encode()), run])


def simulate(connection: duckdb.DuckDBPyConnection, cells: Sequence[Cell], generator: np.random.Generator) -> None:
    """Fills raw.rows with a series of each cell: one after the other, or, with fixed references, on the same days."""
    connection.execute("create schema if not exists raw")
    connection.execute(
        """
        create or replace table raw.rows (
            series integer, seen_at timestamp, user_id integer, x double, tokens integer, topic varchar, flag varchar,
            is_right integer
        )
        """
    )
    for number, cell in enumerate(cells):
        first_day = number * cell.days if cell.reference == "trailing" else 0
        connection.register("drawn", draw(generator, cell))
        connection.execute(
            f"""
            insert into raw.rows
            select
                {number},
                timestamp '{START}' + to_days({first_day} + day::integer),
                user_id + {number} * 10_000_000,
                case when not is_missing then x end,
                tokens,
                'topic_' || topic,
                case when flag then 'yes' else 'no' end,
                is_right::integer
            from drawn
            """
        )
        connection.unregister("drawn")
        connection.execute(f"create or replace view raw.series_{number} as from raw.rows where series = {number}")


def draw(generator: np.random.Generator, cell: Cell) -> pa.Table:
    """The rows of one series. What users differ in and what they don't have the same variance in each column."""
    population = cell.users * (cell.days if cell.has_new_users else POPULATION)
    if cell.has_new_users:
        active = np.arange(population).reshape(cell.days, cell.users)
    else:
        active = np.stack([generator.choice(population, cell.users, replace=False) for _ in range(cell.days)])
    user = np.repeat(active.ravel(), ROWS_PER_USER).astype(np.int32)
    day = np.repeat(np.arange(cell.days, dtype=np.int16), cell.n)
    is_after = day >= REFERENCE_DAYS

    def mixed() -> np.ndarray:
        """Standard normal, with a correlation of one half within users."""
        between = generator.standard_normal(population)
        return math.sqrt(0.5) * (between[user] + generator.standard_normal(user.size))

    # Shares of users whose concentrations add up to one: draws of a user have a correlation of one half.
    bounds = generator.dirichlet([0.25] * 4, population).cumsum(axis=1)[:, :3]
    drawn = generator.random(user.size)
    topic = sum((drawn > bounds[user, number]).astype(np.int8) for number in range(3))
    flag = generator.random(user.size) < generator.beta(0.3, 0.7, population)[user]
    # Rows that move to the first category: as many as take its share from .25 up by the shift.
    moved = generator.random(user.size) < cell.category_shift / 0.75
    topic = np.where(is_after & moved, 0, topic).astype(np.int8)
    return pa.table(
        {
            "day": day,
            "user_id": user,
            "x": mixed() + cell.shift * is_after,
            "tokens": np.floor(np.exp(3 + 0.8 * mixed())).astype(np.int32),
            "topic": topic,
            "flag": flag,
            # Right in 69 to 84% of the rows, by topic.
            "is_right": mixed() < 0.5 + topic / 6,
            "is_missing": generator.random(user.size) < MISSING,
        }
    )


def count(summary: pd.DataFrame, tests: pd.DataFrame, cell: Cell, series: int) -> dict[str, dict[str, float]]:
    """Counts of one run: of whole series ("all"), of each feature, and of each test."""
    summary, tests = (_placed(frame, cell) for frame in (summary, tests))
    if len(summary) != series * cell.windows * len(cell.items):
        raise RuntimeError(f"{len(summary)} rows of drift_summary instead of {series} x {cell.windows} windows")
    summary = summary.assign(is_raised=summary.status.isin(["warn", "alert"]), is_above=summary.psi > PSI_RULE)
    by_series = summary.groupby("series")
    by_window = summary.groupby(["series", "window"])
    cells: dict[str, dict[str, float]] = {
        "all": {
            "series": series,
            "series_raised": int(by_series.is_raised.any().sum()),
            "series_above": int(by_series.is_above.any().sum()),
            "windows": by_window.ngroups,
            "windows_raised": int(by_window.is_raised.any().sum()),
            "windows_above": int(by_window.is_above.any().sum()),
        }
    }
    for item, rows in summary.groupby("feature_name"):
        first = rows[rows.is_raised].groupby("series").window.min().value_counts()
        cells[str(item)] = {
            "series": series,
            "windows": len(rows),
            "insufficient": int((rows.status == "insufficient").sum()),
            "raised": int(rows.is_raised.sum()),
            "above": int(rows.is_above.sum()),
            "psi": float(rows.psi.sum()),
            "design_effect": float(rows.design_effect.sum()),
            "sustained_by_third": _sustained_by_third(rows),
        } | {f"first_{window}": int(number) for window, number in first.items()}
    for (item, test), rows in tests.groupby(["item_name", "test_name"]):
        low = (rows.p_value < 0.001).groupby(rows.series).sum()
        small = (rows.p_value < 0.05).groupby(rows.series).sum()
        # Windows of a series have users and a reference in common: series are what varies by itself.
        cells[f"{item}:{test}"] = {
            "series": rows.series.nunique(),
            "tests": len(rows),
            "p05": int(small.sum()),
            "p05_squared": int((small**2).sum()),
            "p001": int(low.sum()),
            "p001_squared": int((low**2).sum()),
        }
    return cells


def _placed(frame: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """Rows of the windows that count, with their series and the number of the window in it."""
    day = (pd.to_datetime(frame.window_start) - START).dt.days
    series = frame.monitor_name if cell.reference == "fixed" else day // cell.days
    frame = frame.assign(series=series, window=day % cell.days - REFERENCE_DAYS + 1)
    return frame[frame.window > 0]


def _sustained_by_third(rows: pd.DataFrame) -> int:
    """Series of a feature with a sustained shift by the third window. Windows before the first look back into another
    series and don't count."""
    rows = rows[rows.window <= 3].sort_values("window")
    raised = rows.groupby("series").is_raised.cumsum()
    return int(rows[rows.is_sustained & (raised >= 2)].series.nunique())


def plan(series: int | None, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The runs of dbt that are wanted, in the keys of scripts/calibrate.py."""
    for name in names:
        cell = CELLS[name]
        left = min(series or cell.series, cell.series)
        run = 0
        while left > 0:
            yield {"family": name, "n": cell.n, "run": run, "experiments": min(cell.series_per_run, left)}
            left -= cell.series_per_run
            run += 1


def _place(run: dict[str, Any]) -> tuple[str, int]:
    return run["family"], run["run"]


def run_all(results: Path, directory: Path, wanted: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    runs = calibrate.load_results(results)
    done = {_place(run): run["experiments"] for run in runs}
    wanted = list(wanted)
    for number, item in enumerate(wanted, 1):
        if done.get(_place(item), 0) >= item["experiments"]:
            continue
        begun = time.time()
        name, series = item["family"], item["experiments"]
        cells = [CELLS[name]] * series
        work = directory / name
        work.mkdir(parents=True, exist_ok=True)
        database = work / "simulation.duckdb"
        for leftover in work.glob("simulation.duckdb*"):
            leftover.unlink()
        with duckdb.connect(str(database)) as connection:
            simulate(connection, cells, seeded(name, item["run"]))
        drawn = time.time()
        package = calibrate.digest(calibrate.ROOT)
        calibrate.run_dbt(database, work / "target", variables(cells), ["run", "--select", "+drift_summary"])
        with duckdb.connect(str(database), read_only=True) as connection:
            summary = connection.sql("from main_evalhouse.drift_summary").df()
            tests = connection.sql("from main_evalhouse.int_drift_tests").df()
        counts = count(summary, tests, CELLS[name], series)
        database.unlink()
        # A smaller sample of the same run has the same draws: it is replaced.
        runs = [run for run in runs if _place(run) != _place(item)]
        runs.append({**item, "package": package, "seconds": round(time.time() - begun, 1), "cells": counts})
        calibrate.save_results(results, runs)
        print(
            f"{time.strftime('%H:%M:%S')} run {number}/{len(wanted)}: {name} #{item['run']}, {series} series, "
            f"drawn in {drawn - begun:.0f} s, judged in {time.time() - drawn:.0f} s, "
            f"{counts['all']['series_raised']} raised anything",
            flush=True,
        )
    return runs


# What was found.


def standard_error(count: float, squared: float, series: float, tests: float) -> float:
    """Of a share of all tests, when series are independent and the tests within one are not."""
    if series < 2:
        return math.inf
    variance = max(squared / series - (count / series) ** 2, 0) * series / (series - 1)
    # One more series with one more of them: none at all is no proof of a variance of nothing.
    return math.sqrt(max(variance, 1 / series) / series) * series / tests


def judge(cell: Cell, name: str, counts: Counter) -> list[str]:
    """The bars that counts miss."""
    missed = []
    series = counts["series"]
    if cell.is_shifted:
        if name in ("x", "topic") and cell.n >= 10_000 and counts["sustained_by_third"] < 0.95 * series:
            missed.append(f"sustained by the third window in {counts['sustained_by_third'] / series:.0%}, below 95%")
        return missed
    if name == "all":
        raised = counts["series_raised"]
        if series >= ENOUGH_SERIES:
            is_missed = raised > calibrate.ALPHA * series
        else:
            is_missed = stats.binom.sf(raised - 1, series, calibrate.ALPHA) < 0.01
        if is_missed:
            missed.append(f"{raised} of {series} series raised something, more than 5%")
    elif ":" in name:
        tests = counts["tests"]
        for key, bar, title in [("p05", 0.055, "p < .05"), ("p001", 0.002, "p < .001")]:
            error = standard_error(counts[key], counts[f"{key}_squared"], series, tests)
            if counts[key] / tests - 3 * error > bar:
                missed.append(f"{title} in {counts[key] / tests:.2%} of {tests:,} tests, above {bar:.1%}")
    return missed


def _share(number: float, of: float, digits: int = 1) -> str:
    return f"{number / of:.{digits}%}" if of else ""


def _first(counts: Counter, windows: int, share: float) -> str:
    """The window by which a share of the series has been raised."""
    reached = 0
    for window in range(1, windows + 1):
        reached += counts[f"first_{window}"]
        if reached >= share * counts["series"]:
            return str(window)
    return f"> {windows}"


def tables(runs: Iterable[dict[str, Any]]) -> tuple[dict[str, tuple[list[str], list[list[str]]]], list[str]]:
    """Heads and rows of tables by title, and the bars missed, as sentences."""
    totals = calibrate.add_up(runs)
    alarms, values, power, failures = [], [], [], []
    labels = list(dict.fromkeys(cell.label for cell in CELLS.values()))
    for name, cell in sorted(CELLS.items(), key=lambda pair: (labels.index(pair[1].label), pair[1].n)):
        found = {part: counts for (family, _, part), counts in totals.items() if family == name}
        if not found:
            continue
        for part, counts in found.items():
            failures += [f"{cell.label}, n = {cell.n:,}, {part}: {text}" for text in judge(cell, part, counts)]
        whole = found["all"]
        series = f"{whole['series']:,}"
        if cell.is_shifted:
            for item, label in [("x", f"number, {SHIFT:g} sd"), ("topic", "category, 10 points up"),
                                ("tokens", "integer, not moved"), ("flag", "flag, not moved")]:  # fmt: skip
                counts = found[item]
                power.append([
                    label, f"{cell.n:,}", series, f"{counts['psi'] / counts['windows']:.3f}",
                    _share(counts["raised"], counts["windows"]),
                    _share(counts["sustained_by_third"], counts["series"], 0),
                    " / ".join(_first(counts, cell.windows, share) for share in (0.25, 0.5, 0.75)),
                ])  # fmt: skip
            continue
        alarms.append([
            cell.label, f"{cell.n:,}", series, f"{whole['series_raised']}",
            _share(whole["series_raised"], whole["series"]), _share(whole["windows_raised"], whole["windows"], 2),
            *(f"{found[item]['psi'] / found[item]['windows']:.3f}" for item in ("x", "topic")),
            _share(whole["windows_above"], whole["windows"], 0), _share(whole["series_above"], whole["series"], 0),
        ])  # fmt: skip
        shares = []
        for test in TESTS:
            counts = found.get(test)
            shares.append(
                f"{counts['p05'] / counts['tests']:.1%} / {counts['p001'] / counts['tests']:.2%}" if counts else ""
            )
        values.append([cell.label, f"{cell.n:,}", f"{whole['windows']:,}", *shares])
    power.sort(key=lambda row: ["number", "category", "integer", "flag"].index(row[0].split(",")[0]))
    texts = {
        "No drift: what is raised in 30 windows": (
            ["series", "rows per window", "series", "raised anything", "share", "windows raised",
             "mean PSI, normal", "mean PSI, category", f"windows with PSI > {PSI_RULE:g}", "series with it"], alarms
        ),
        "No drift: share of p-values below .05 / .001": (
            ["series", "rows per window", "windows", *TESTS.values()], values
        ),
        "A shift from the first window on, 10 windows": (
            ["feature", "rows per window", "series", "mean PSI", "windows raised", "sustained by the third window",
             "first window raised, quartiles"], power
        ),
    }  # fmt: skip
    return texts, failures


def write_document(runs: list[dict[str, Any]]) -> None:
    """Replaces what stands between the markers of the document."""
    texts, failures = tables(runs)
    known = {_place(run): run["experiments"] for run in runs}
    wanted = list(plan(None, CELLS))
    packages = ", ".join(sorted({run["package"] for run in runs}))
    done = sum(known.get(_place(item), 0) >= item["experiments"] for item in wanted)
    state = (
        f"{done} of {len(wanted)} runs of dbt, seed {calibrate.SEED}; code measured (hash of models and macros): "
        f"{packages}."
    )
    body = [state, *(f"### {title}\n\n{markdown(*table)}" for title, table in texts.items() if table[1])]
    body.append("\n".join(["Missed bars:", "", *(f"- {item}" for item in failures)]) if failures else "No bar missed.")
    calibrate.replace_in_document(MARKERS, "\n\n".join(body))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--work-dir", type=Path, default=calibrate.ROOT / "bench_results" / "work" / "drift")
    parser.add_argument("--series", type=int, help="at most so many a cell")
    parser.add_argument("--cell", action="append", choices=list(CELLS))
    parser.add_argument("--table", action="store_true", help="only print what the results so far say")
    parser.add_argument("--document", action="store_true", help="the same, and write it into docs/calibration.md")
    arguments = parser.parse_args()
    if arguments.table or arguments.document:
        runs = calibrate.load_results(arguments.results)
    else:
        runs = run_all(arguments.results, arguments.work_dir, plan(arguments.series, arguments.cell or CELLS))
    if arguments.document:
        write_document(runs)
    texts, failures = tables(runs)
    for title, table in texts.items():
        if table[1]:
            print(title, "", markdown(*table), "", sep="\n")
    print(*(["Missed:", *failures] if failures else ["Every cell keeps its bars."]), sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
