"""Drift by permutation: what SQL cannot say about how far a window is from its reference.

    python scripts/drift.py                           every monitor, every window that is over
    python scripts/drift.py --target prod             the same in another target of the dbt profile
    python scripts/drift.py --monitor traces          one monitor (may be repeated)
    python scripts/drift.py --since 2024-03-01        windows that start on this day or later

Run it from the folder of the dbt project, after dbt has built `int_drift_windows`; dbt then reads the results. It
compares the rows of `int_drift_samples` and writes `drift_permutations`: Kolmogorov-Smirnov, Wasserstein and PSI of
numbers, PSI of categories, a classifier two-sample test and the maximum mean discrepancy of texts and embeddings.
P-values come from permutations by unit; docs/drift_permutations.md says how, how often they err and what they find.
Every window is written as it is done, and one whose rows are what they were is skipped: stopped at any time, the next
run goes on. Exit code: 0 done, 2 not done (the reason is on standard error), 130 interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from _two_samples import (
    Blocks,
    Limits,
    Outcome,
    compare_categories,
    compare_features,
    compare_numbers,
    matched_if_regular,
    text_features,
)
from _warehouse import Warehouse, WarehouseError, add_arguments, open_warehouse
from rich.console import Console
from rich.progress import track

MODEL = "drift_permutations"
KEYS = ("monitor_name", "window_start")
# In data_hash, so that another way of comparing computes everything again.
VERSION = 1
NUMBERS, CATEGORIES = ("numeric", "text_length"), ("categorical",)
# Of references that move with the window.
MATCHED = ("trailing", "same_weekday")
# Matrices of rows by rows: more would cost much and say little.
KERNEL_ROWS = 3000
MOST_CHARACTERS = 2000
# Windows whose days are read together.
READ_AHEAD = 8


@dataclass(frozen=True)
class Window:
    """A row of int_drift_windows, and the row_dates that it and its reference are made of."""

    monitor: str
    start: date
    days: int
    reference_kind: str
    reference_start: date | None
    window_dates: tuple[date, ...]
    reference_dates: tuple[date, ...]

    @property
    def dates(self) -> tuple[date, ...]:
        return self.reference_dates + self.window_dates

    def periods(self, dates: np.ndarray) -> np.ndarray:
        """Which stretch of the window's length each date of the reference falls into."""
        if self.reference_kind == "training":
            return np.zeros(len(dates), dtype=int)
        if self.reference_kind == "fixed":
            return (dates - np.datetime64(self.reference_start, "D")).astype(int) // self.days
        length = 7 if self.reference_kind == "same_weekday" else self.days
        return ((np.datetime64(self.start, "D") - dates).astype(int) - 1) // length


@dataclass(frozen=True)
class Part:
    """A feature's rows of one day, in an order that depends on nothing but them."""

    kind: str
    units: np.ndarray
    groups: np.ndarray
    dates: np.ndarray
    values: np.ndarray
    digest: str


@dataclass(frozen=True)
class Day:
    """All sampled rows of a day. `last_group`: the last group of units that was taken, None where all were."""

    parts: dict[str, Part]
    last_group: str | None


EMPTY = Day({}, None)


@dataclass(frozen=True)
class Comparison:
    """A feature's rows of a window (period -1) and of its reference."""

    units: np.ndarray
    periods: np.ndarray
    values: np.ndarray
    is_complete: bool

    def only(self, chosen: np.ndarray) -> Comparison:
        """Some of the rows."""
        complete = self.is_complete and bool(chosen.all())
        return Comparison(self.units[chosen], self.periods[chosen], self.values[chosen], complete)

    @property
    def has_both(self) -> bool:
        return bool((self.periods < 0).any() and (self.periods >= 0).any())

    def counts(self) -> dict[str, Any]:
        """The columns of the table that say what was compared."""
        is_window = self.periods < 0
        return {
            "reference_rows": int((~is_window).sum()),
            "window_rows": int(is_window.sum()),
            "reference_units": len(np.unique(self.units[~is_window])),
            "window_units": len(np.unique(self.units[is_window])),
            "is_complete": self.is_complete,
        }


class Samples:
    """The sampled rows of one monitor by day. Holds the days of a few windows, and reads several at once."""

    def __init__(self, warehouse: Warehouse, monitor: str) -> None:
        self._warehouse = warehouse
        self._monitor = monitor
        self._days: dict[date, Day] = {}

    def days_of(self, windows: Sequence[Window]) -> dict[date, Day]:
        """The days of the first of the windows; those of the next are read with them and kept."""
        missing = sorted(set(windows[0].dates) - set(self._days))
        if missing:
            wanted = {day for window in windows[:READ_AHEAD] for day in window.dates}
            self._days = {day: kept for day, kept in self._days.items() if day in wanted}
            self._read(sorted(wanted - set(self._days)))
        return {day: self._days[day] for day in windows[0].dates}

    def _read(self, days: Sequence[date]) -> None:
        self._days |= dict.fromkeys(days, EMPTY)
        # A few days at a time: embeddings come as lists of Python's numbers.
        for start in range(0, len(days), READ_AHEAD):
            wanted = ", ".join(f"cast('{day}' as date)" for day in days[start : start + READ_AHEAD])
            found = self._warehouse.rows(
                "select row_date, period_date, unit_group, unit_id, feature_name, feature_kind, number_value, "
                f"category, embedding, is_complete from {self._warehouse.relation('int_drift_samples')} "
                f"where monitor_name = '{self._monitor}' and row_date in ({wanted})"
            )
            by_day: dict[date, list[dict[str, Any]]] = {}
            for row in found:
                by_day.setdefault(_date(row["row_date"]), []).append(row)
            for day, rows in by_day.items():
                self._days[day] = _day(rows)


def _day(rows: Sequence[dict[str, Any]]) -> Day:
    by_feature: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_feature.setdefault(row["feature_name"], []).append(row)
    parts = {name: _part(found) for name, found in sorted(by_feature.items())}
    complete = all(row["is_complete"] for row in rows)
    return Day(parts, None if complete else max(row["unit_group"] for row in rows))


def _part(rows: list[dict[str, Any]]) -> Part:
    kind = rows[0]["feature_kind"]
    column = "number_value" if kind in NUMBERS else "embedding" if kind == "embedding" else "category"
    # Vectors whose elements are not all numbers are compared with nothing.
    rows = [row for row in rows if column != "embedding" or (row[column] and None not in row[column])]
    rows.sort(key=lambda row: (row["unit_id"], str(row["period_date"]), row[column]))
    digest = hashlib.md5(kind.encode())
    for row in rows:
        digest.update(f"\x1e{row['unit_id']}\x1f{row['period_date']}\x1f{row['is_complete']}\x1f".encode())
        value = row[column]
        digest.update(value.encode() if isinstance(value, str) else np.asarray(value, dtype=float).tobytes())
    values = np.empty(len(rows), dtype=float if kind in NUMBERS else object)
    for number, row in enumerate(rows):
        value = row[column]
        if kind == "embedding":
            values[number] = np.asarray(value, dtype=np.float32)
        else:
            values[number] = value[:MOST_CHARACTERS] if kind == "text" else value
    return Part(
        kind=kind,
        units=np.array([row["unit_id"] for row in rows], dtype=object),
        groups=np.array([row["unit_group"] for row in rows], dtype=object),
        dates=np.array([_date(row["period_date"]) for row in rows], dtype="datetime64[D]"),
        values=values,
        digest=digest.hexdigest(),
    )


def _date(value: Any) -> date:
    return value.date() if hasattr(value, "date") else value


def unit_hash(unit: str) -> int:
    """64 bits of a unit, others than those that it was sampled by."""
    return int.from_bytes(hashlib.blake2b(str(unit).encode(), digest_size=8).digest(), "big")


def comparison(window: Window, days: dict[date, Day], feature: str, rng: np.random.Generator) -> Comparison:
    """A feature's rows of a window and its reference, of the units that are sampled on all of its days.

    A busy day has fewer of all units in its sample than a quiet one. Where the reference moves with the window, units
    that are missing from the sample of some day are left out of all: otherwise quiet days, and light users, would
    weigh more in the reference than they do in the window.
    """
    sides = [
        (day, part, is_window)
        for dates, is_window in ((window.reference_dates, False), (window.window_dates, True))
        for day in dates
        if (part := days[day].parts.get(feature)) is not None and len(part.units)
    ]
    if not sides:
        nothing = np.array([], dtype=object)
        return Comparison(nothing, np.array([], dtype=int), nothing, True)
    periods = [
        np.full(len(part.units), -1) if is_window else window.periods(part.dates) for _, part, is_window in sides
    ]
    found = Comparison(
        units=np.concatenate([part.units for _, part, _ in sides]),
        periods=np.concatenate(periods),
        values=np.concatenate([part.values for _, part, _ in sides]),
        is_complete=all(days[day].last_group is None for day in window.dates),
    )
    if window.reference_kind in MATCHED:
        limits = [days[day].last_group for day in window.dates if days[day].last_group is not None]
        if limits:
            groups = np.concatenate([part.groups for _, part, _ in sides])
            found = found.only(groups <= min(limits))
    elif window.reference_kind == "training" and found.has_both:
        found = Comparison(found.units, _chunks(found, rng), found.values, found.is_complete)
    return found


def _chunks(found: Comparison, rng: np.random.Generator) -> np.ndarray:
    """Periods of rows without a date: a unit's rows, in random order, in parts as large as a unit's in the window."""
    is_window = found.periods < 0
    size = max(1, round(is_window.sum() / len(np.unique(found.units[is_window]))))
    periods = found.periods.copy()
    rows = np.flatnonzero(~is_window)
    rows = rows[rng.permutation(len(rows))]
    rows = rows[np.argsort(found.units[rows].astype(str), kind="stable")]
    _, starts, counts = np.unique(found.units[rows].astype(str), return_index=True, return_counts=True)
    periods[rows] = (np.arange(len(rows)) - np.repeat(starts, counts)) // size
    return periods


def thinned(found: Comparison, is_matched: bool, most_rows: int = KERNEL_ROWS) -> Comparison:
    """At most about `most_rows` rows: of each unit some periods of the reference, then of some units all that is left.

    Which periods depends on the unit, and every period is as likely. Units of a reference that does not move are left
    with one, so that they can change places with those of the window.
    """
    is_window = found.periods < 0
    names, codes = np.unique(found.units.astype(str), return_inverse=True)
    hashes = np.array([unit_hash(name) for name in names], dtype=np.uint64)
    count = int(found.periods.max()) + 1
    blocks = np.unique(np.column_stack([codes, found.periods])[~is_window], axis=0)
    if is_matched or len(np.unique(blocks[:, 0])) == len(blocks):
        wanted = max(most_rows - is_window.sum(), most_rows / 2)
        kept = int(np.clip(round(count * wanted / (~is_window).sum()), 1, count))
    else:
        kept = 1
    first = (hashes % np.uint64(count)).astype(int)[codes]
    chosen = is_window | ((found.periods - first) % count < kept)
    rows_of_unit = np.bincount(codes[chosen], minlength=len(names))
    order = np.argsort(hashes // np.uint64(1024), kind="stable")
    before = np.empty(len(names), dtype=int)
    before[order] = np.cumsum(rows_of_unit[order]) - rows_of_unit[order]
    return found.only(chosen & (before < most_rows)[codes])


def compare(
    found: Comparison, kind: str, is_matched: bool, limits: Limits, rng: np.random.Generator
) -> tuple[Comparison, dict[str, Outcome]]:
    """The rows that were compared, and the tests that a feature of this kind has."""
    if not found.has_both:
        return found, {}
    if kind in NUMBERS:
        return found, compare_numbers(found.values.astype(float), _blocks(found, is_matched), limits, rng)
    if kind in CATEGORIES:
        return found, compare_categories(found.values.astype(str), _blocks(found, is_matched), limits, rng)
    if kind == "embedding":
        lengths = np.array([len(value) for value in found.values])
        sizes, counts = np.unique(lengths, return_counts=True)
        found = found.only(lengths == sizes[np.argmax(counts)])
        if not found.has_both:
            return found, {}
    found = thinned(found, is_matched)
    if not found.has_both:
        return found, {}
    features = np.stack(found.values).astype(float) if kind == "embedding" else text_features(list(found.values))
    return found, compare_features(features, Blocks(_codes(found), found.periods), limits, rng)


def _blocks(found: Comparison, is_matched: bool) -> Blocks:
    return matched_if_regular(_codes(found), found.periods, is_matched)


def _codes(found: Comparison) -> np.ndarray:
    return np.unique(found.units.astype(str), return_inverse=True)[1]


def wanted_windows(warehouse: Warehouse, monitors: Sequence[str], since: date | None) -> dict[str, list[Window]]:
    """The windows of each monitor, in their order."""
    found = warehouse.rows(
        f"select * from {warehouse.relation('int_drift_windows')} order by monitor_name, window_start"
    )
    known = sorted({row["monitor_name"] for row in found})
    for name in monitors:
        if name not in known:
            raise WarehouseError(f"no monitor {name!r} has a window; those that have: {', '.join(known) or 'none'}")
    sides: dict[tuple[str, date], tuple[list[date], list[date]]] = {}
    for row in warehouse.rows(
        f"select * from {warehouse.relation('int_drift_window_days')} order by monitor_name, window_start, row_date"
    ):
        key = (row["monitor_name"], _date(row["window_start"]))
        sides.setdefault(key, ([], []))[int(row["is_reference"])].append(_date(row["row_date"]))
    windows: dict[str, list[Window]] = {}
    for row in found:
        name, start = row["monitor_name"], _date(row["window_start"])
        if (monitors and name not in monitors) or (since and start < since):
            continue
        of_window, of_reference = sides.get((name, start), ([], []))
        reference_start = row["reference_start"]
        windows.setdefault(name, []).append(
            Window(
                monitor=name,
                start=start,
                days=int(row["window_days"]),
                reference_kind=row["reference_kind"],
                reference_start=None if reference_start is None else _date(reference_start),
                window_dates=tuple(of_window),
                reference_dates=tuple(dict.fromkeys(of_reference)),
            )
        )
    return windows


def data_hash(window: Window, days: dict[date, Day], feature: str, limits: Limits) -> str:
    """Of all that a feature's results depend on, but for the seed."""
    digest = hashlib.md5(f"{VERSION} {limits} {window.reference_kind} {window.days} {window.reference_start}".encode())
    for day in window.dates:
        part = days[day].parts.get(feature)
        digest.update(f"|{day} {days[day].last_group} {part.digest if part else ''}".encode())
    return digest.hexdigest()


def results(
    window: Window,
    days: dict[date, Day],
    present: dict[str, list[dict[str, Any]]],
    limits: Limits,
    seed: int,
) -> tuple[list[dict[str, Any]], bool]:
    """The rows of a window, and whether any of them is not `present` (by feature) already."""
    kinds = {name: part.kind for day in window.dates for name, part in days[day].parts.items()}
    rows, is_new = [], False
    for feature, kind in sorted(kinds.items()):
        now = data_hash(window, days, feature, limits)
        before = present.get(feature, [])
        if before and all(row["data_hash"] == now and row["seed"] == seed for row in before):
            rows += before
            continue
        rng = np.random.default_rng([seed, zlib.crc32(f"{window.monitor} {feature} {window.start}".encode())])
        found = comparison(window, days, feature, rng)
        found, outcomes = compare(found, kind, window.reference_kind in MATCHED, limits, rng)
        counts = found.counts() if outcomes else {}
        is_new = is_new or bool(outcomes) or bool(before)
        rows += [
            {
                "monitor_name": window.monitor,
                "feature_name": feature,
                "window_start": str(window.start),
                "method": method,
                "statistic": outcome.statistic,
                "p_value": outcome.p_value,
                "permutations": outcome.permutations,
                "is_tail_fitted": outcome.is_tail_fitted,
                **counts,
                "data_hash": now,
                "seed": seed,
            }
            for method, outcome in outcomes.items()
        ]
    return rows, is_new or not set(present) <= {row["feature_name"] for row in rows}


def stored(warehouse: Warehouse) -> dict[tuple[str, str], dict[str, list[dict[str, Any]]]]:
    """What the table holds: by monitor and window, then by feature."""
    held: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    for row in warehouse.rows(f"select * from {warehouse.relation(MODEL, kinds=('table',))} order by method"):
        row["window_start"] = str(_date(row["window_start"]))
        by_feature = held.setdefault((row["monitor_name"], row["window_start"]), {})
        by_feature.setdefault(row["feature_name"], []).append(row)
    return held


def _in_order(windows: dict[str, list[Window]], warehouse: Warehouse) -> Iterator[tuple[Window, dict[date, Day]]]:
    for monitor, of_monitor in windows.items():
        samples = Samples(warehouse, monitor)
        for number, window in enumerate(of_monitor):
            yield window, samples.days_of(of_monitor[number : number + READ_AHEAD])


def store(arguments: argparse.Namespace, console: Console) -> None:
    limits = Limits(
        least=arguments.permutations,
        most=max(arguments.permutations, arguments.most_permutations),
        most_costly=max(arguments.permutations, min(arguments.most_permutations, Limits.most_costly)),
    )
    with open_warehouse(arguments) as warehouse:
        held = stored(warehouse)
        windows = wanted_windows(warehouse, arguments.monitor or [], arguments.since)
        count = sum(len(of_monitor) for of_monitor in windows.values())
        if not count:
            console.print("nothing to compute: no monitor has a window that is over and whose reference is full")
            return
        steps: Iterable[tuple[Window, dict[date, Day]]] = track(
            _in_order(windows, warehouse), "windows", total=count, console=console, disable=not console.is_terminal
        )
        written = skipped = 0
        for window, days in steps:
            present = held.get((window.monitor, str(window.start)), {})
            rows, is_new = results(window, days, present, limits, arguments.seed)
            if not is_new:
                skipped += 1
                continue
            warehouse.replace_rows(MODEL, KEYS, rows)
            written += len(rows)
            least = min(rows, key=lambda row: row["p_value"], default=None)
            said = (
                f"least p-value {least['p_value']:.3g} ({least['feature_name']}, {least['method']})" if least else "-"
            )
            console.print(f"{window.monitor}, {window.start}: {len(rows)} tests, {said}")
        console.print(f"{written} rows of {MODEL} written, {skipped} of {count} windows as they were")


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--monitor", action="append", metavar="NAME", help="only this one (default: all)")
    parser.add_argument("--since", type=date.fromisoformat, metavar="DATE", help="only windows from this day on")
    parser.add_argument("--permutations", type=int, default=Limits.least, metavar="N", help="at least (default: 999)")
    parser.add_argument(
        "--most-permutations",
        type=int,
        default=Limits.most,
        metavar="N",
        help="where the p-value is small (default: 99999; texts and embeddings stop at 9999, and fit the tail)",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the permutations (default: 1)")
    add_arguments(parser)
    arguments = parser.parse_args(words)
    if arguments.permutations < 19:
        parser.error(
            f"--permutations is {arguments.permutations}; allowed: 19 or more, which can show a p-value of .05"
        )
    if arguments.seed < 0:
        parser.error(f"--seed is {arguments.seed}; allowed: 0 or more")
    return arguments


def main(words: Sequence[str] | None = None) -> int:
    arguments = parse(words)
    try:
        store(arguments, Console(highlight=False))
    except (WarehouseError, ValueError) as error:
        print(f"drift: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("drift: interrupted; windows that were done are stored", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
