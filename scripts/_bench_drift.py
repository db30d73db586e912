"""The part of the benchmark that times drift: twenty columns, a reference against one window, every measure exact.

The package builds `drift_summary`, `drift_bins` and everything they need; the hand-written plan counts each column's
values once, sorts numbers once and takes Kolmogorov-Smirnov, Wasserstein and PSI from that, PSI and chi-square of
categories from their counts. The package on an empty table gives dbt's fixed cost. Both must find the same numbers.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import duckdb

NUMBERS = [f"n{number}" for number in range(1, 11)]
CATEGORIES = [f"c{number}" for number in range(1, 11)]
LEVELS = [2, 3, 5, 8, 10, 12, 20, 30, 40, 50]
VARIABLES: dict[str, Any] = {
    "metrics": [],
    "drift_monitors": [
        {
            "name": "columns",
            "relation": "raw.columns_by_day",
            "time_column": "seen_on",
            "features": [
                *({"name": name, "kind": "numeric"} for name in NUMBERS),
                *({"name": name, "kind": "categorical"} for name in CATEGORIES),
            ],
            "reference": {"kind": "fixed", "start": "2024-01-01", "end": "2024-01-02"},
        }
    ],
    "analysis": {"as_of": "2024-01-03"},
}
SELECTION = "+drift_summary +drift_bins"


def generate(connection: duckdb.DuckDBPyConnection, rows: int) -> int:
    """`rows` a side: numbers with and without ties and tails, categories of 2 to 50 levels; odd columns drift.

    Every draw is a hash: the same for any number of threads. Returns the rows of both sides.
    """
    numbers = [
        "{z} * (1 + {move}) + {move}",
        "exp(0.7 * {z} + {move})",
        "-ln({u}) * (1 + {move})",
        "floor(25 * pow({u}, 1 + {move}))",
        "round(80 * {u} + 8 * {move}, 1)",
    ]
    columns = []
    for place, name in enumerate(NUMBERS, start=1):
        uniform = f"((hash(i * 7919 + {place}) >> 11)::double + 0.5) / 9007199254740992.0"
        other = f"((hash(i * 6007 + {place + 40}) >> 11)::double + 0.5) / 9007199254740992.0"
        normal = f"(sqrt(-2 * ln({uniform})) * cos(2 * pi() * {other}))"
        move = f"(side * {0.04 * place * (place % 2)})"
        columns.append(f"({numbers[place % 5].format(u=uniform, z=normal, move=move)})::double as {name}")
    for place, (name, levels) in enumerate(zip(CATEGORIES, LEVELS, strict=True), start=1):
        uniform = f"((hash(i * 4001 + {place + 80}) >> 11)::double + 0.5) / 9007199254740992.0"
        power = f"(1.4 + side * {0.03 * place * (place % 2)})"
        columns.append(f"'level ' || floor({levels} * pow({uniform}, {power}))::int as {name}")
    connection.execute("create schema if not exists raw")
    connection.execute(
        f"""
        create or replace table raw.columns_by_day as
        select date '2024-01-01' + side::int as seen_on, {", ".join(columns)}
        from (select range as i, (range >= {rows})::int as side from range({2 * rows}))
        """
    )
    return 2 * rows


def make(database: Path, rows: int) -> None:
    """Writes the tables into a DuckDB file."""
    with duckdb.connect(str(database)) as connection:
        generate(connection, rows)


def plan() -> str:
    """The hand-written plan, one row per column: name, ks, wasserstein, psi, chi2."""
    parts = []
    for name in NUMBERS:
        edges = ", ".join(f"min(w) filter (where r >= ceil(nr * {k} / 10)) as w{k}" for k in range(1, 10))
        edges += ", " + ", ".join(f"min(r) filter (where r >= ceil(nr * {k} / 10)) as r{k}" for k in range(1, 10))
        cuts = ["0", *(f"{{side}}{k}" for k in range(1, 10)), "n{side}"]
        terms = []
        for low, high in itertools.pairwise(cuts):
            old, new = (
                f"greatest(({high.format(side=side)} - {low.format(side=side)}) / n{side}::double, 1e-4)"
                for side in "rw"
            )
            # Bins that one value fills do not exist.
            same = f"{high.format(side='r')} = {low.format(side='r')} and {high.format(side='w')} = "
            same += low.format(side="w")
            terms.append(f"case when {same} then 0 else ({new} - {old}) * ln({new} / {old}) end")
        parts.append(
            f"""
            select '{name}' as feature_name, ks, area / sd as wasserstein, {" + ".join(terms)} as psi, null as chi2
            from (
                select max(abs(r / nr - w / nw)) as ks, sum(abs(r / nr - w / nw) * step) as area,
                    any_value(nr) as nr, any_value(nw) as nw, {edges},
                    (select stddev_pop({name}) from raw.columns_by_day where seen_on = '2024-01-01') as sd
                from (
                    select x, sum(old) over past as r, sum(new) over past as w, lead(x) over past - x as step,
                        sum(old) over () as nr, sum(new) over () as nw
                    from (
                        select {name} as x, count(*) filter (where seen_on = '2024-01-01')::double as old,
                            count(*) filter (where seen_on = '2024-01-02')::double as new
                        from raw.columns_by_day group by all
                    )
                    window past as (order by x)
                )
            )
            """
        )
    for name in CATEGORIES:
        old, new = (f"greatest({side} / sum({side}) over (), 1e-4)" for side in ("old", "new"))
        parts.append(
            f"""
            select '{name}', null, null, sum(psi), sum(chi2) from (
                select ({new} - {old}) * ln({new} / {old}) as psi,
                    pow(old * sum(new) over () - new * sum(old) over (), 2)
                    / ((old + new) * sum(old) over () * sum(new) over ()) as chi2
                from (
                    select {name}, count(*) filter (where seen_on = '2024-01-01')::double as old,
                        count(*) filter (where seen_on = '2024-01-02')::double as new
                    from raw.columns_by_day group by all
                )
            )
            """
        )
    return " union all ".join(parts)


def largest_difference(database: Path) -> float:
    """Between plan and package, relative, over all measures of all columns. Raises SystemExit where one is missing."""
    with duckdb.connect(str(database), read_only=True) as connection:
        rows = connection.execute(
            """
            select found.feature_name, found.ks_statistic, plan.ks, found.wasserstein, plan.wasserstein,
                found.psi, plan.psi, found.chi2_statistic, plan.chi2
            from reference as plan left join main_evalhouse.drift_summary as found using (feature_name)
            """
        ).fetchall()
    worst = 0.0
    for name, *pairs in rows:
        for found, expected in zip(pairs[::2], pairs[1::2], strict=True):
            if (found is None) != (expected is None):
                raise SystemExit(f"bench: plan and package disagree on {name}: {expected} and {found}")
            if found is not None:
                worst = max(worst, abs(found - expected) / max(abs(expected), 1e-12))
    return worst
