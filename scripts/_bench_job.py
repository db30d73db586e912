"""The benchmark's job: its metrics, what the package is told to build, and whether all plans find the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import _bench_run
import duckdb

# In standard errors.
SAME = 1e-6
SELECTION = "+experiment_results +experiment_health +guardrail_checks"

# Event, column of the reference, and what is summed (none: events are counted).
MEANS = {
    "page_views": ("page_view", "views", None),
    "messages_sent": ("message_sent", "messages", None),
    "clicks": ("click", "clicks", None),
    "copies": ("copy_response", "copies", None),
    "thumbs_up": ("thumbs_up", "ups", None),
    "thumbs_down": ("thumbs_down", "downs", None),
    "regenerations": ("regenerate", "repeats", None),
    "revenue": ("purchase", "revenue", "value"),
}
RATIOS = {
    "regenerations_per_message": ("regenerations", "messages_sent"),
    "revenue_per_click": ("revenue", "clicks"),
}
GUARDRAILS = [
    {"metric": "thumbs_down", "margin_relative": 0.05, "action": "rollback"},
    {"metric": "regenerations_per_message", "margin_absolute": 0.01},
]
UNWANTED = ("thumbs_down", "regenerations", "regenerations_per_message")


def variables() -> dict[str, Any]:
    metrics: list[dict[str, Any]] = []
    for name, (event, _, value) in MEANS.items():
        cuped = {"cuped": True, "cuped_days": 28}
        metrics.append({**metric(name, event, value), "type": "mean", **cuped})
    for name, (numerator, denominator) in RATIOS.items():
        event, _, value = MEANS[numerator]
        below = {"where": f"event_name = '{MEANS[denominator][0]}'"}
        metrics.append({**metric(name, event, value), "type": "ratio", "denominator": below})
    return {"raw_schema": "raw", "inputs": ["exposures", "outcomes"], "metrics": metrics, "guardrails": GUARDRAILS}


def metric(name: str, event: str, value: str | None) -> dict[str, Any]:
    found = {"name": name, "fact": "outcomes", "where": f"event_name = '{event}'"}
    found["role"] = "guardrail" if any(name == item["metric"] for item in GUARDRAILS) else "secondary"
    found["direction"] = "decrease" if name in UNWANTED else "increase"
    return {**found, "value": value} if value else found


def expected_effect(name: str, control: Mapping[str, float], treatment: Mapping[str, float]) -> float:
    """The effect of a metric from the reference's sums of two arms."""
    if name in RATIOS:
        numerator, denominator = (MEANS[part][1] for part in RATIOS[name])
        ratios = [arm[f"y_{numerator}"] / arm[f"y_{denominator}"] for arm in (control, treatment)]
        return ratios[1] - ratios[0]
    column = MEANS[name][1]
    both = {key: control[key] + treatment[key] for key in ("units", *(f"{p}_{column}" for p in ("x", "y", "xx", "xy")))}
    # The slope is that of both arms taken as one sample.
    covariance = both[f"xy_{column}"] - both[f"x_{column}"] * both[f"y_{column}"] / both["units"]
    variance = both[f"xx_{column}"] - both[f"x_{column}"] ** 2 / both["units"]
    gap = {
        p: treatment[f"{p}_{column}"] / treatment["units"] - control[f"{p}_{column}"] / control["units"] for p in "xy"
    }
    return gap["y"] - covariance / variance * gap["x"]


def compare(database: Path, experiments: int, peer: Iterable[Mapping[str, Any]] = ()) -> dict[str, float]:
    """Effects of the package against the reference's, and the peer's if given: the largest differences in standard
    errors. Raises Failed where they do not agree or one is missing."""
    with duckdb.connect(str(database), read_only=True) as connection:
        arms = connection.sql("from reference").df().set_index(["experiment_id", "variation_id"]).to_dict("index")
        rows = connection.sql(
            f"""
            select experiment_id, metric_name, units_control, units_treatment, effect_absolute, se_absolute
            from {_bench_run.SCHEMA}.experiment_results where dimension_name = 'all' and status = 'ok'
            """
        ).fetchall()
    if len(rows) != experiments * (len(MEANS) + len(RATIOS)):
        raise _bench_run.Failed(f"the package has {len(rows)} effects")
    gaps: dict[str, list[float]] = {"reference": []}
    found = {}
    for experiment, name, units_control, units_treatment, effect, error in rows:
        control, treatment = arms[experiment, "control"], arms[experiment, "treatment"]
        if (units_control, units_treatment) != (control["units"], treatment["units"]):
            raise _bench_run.Failed(f"units of {name} in {experiment} differ from the reference's")
        gaps["reference"].append(abs(effect - expected_effect(name, control, treatment)) / error)
        found[experiment, name] = (effect, error)
    for item in peer:
        effect, error = found[item["experiment_id"], item["metric_name"]]
        gaps.setdefault("peer", []).append(abs(effect - item["effect"]) / error)
    for name, values in gaps.items():
        far = [value for value in values if not value < SAME]
        if far:
            raise _bench_run.Failed(f"{len(far)} effects are not those of the {name}, by {far[0]:.2g} standard errors")
    return {"effects": len(rows), **{name: max(values) for name, values in gaps.items()}}


def largest_difference(connection: duckdb.DuckDBPyConnection, one: str, other: str) -> tuple[float, int]:
    """Two tables as sets of rows: the largest difference of their floats, relative to their size if that is above 1,
    and how many rows only one of them has, by all columns that are not floats."""
    columns = connection.execute(f"describe {one}").fetchall()
    floats = [name for name, kind, *_ in columns if kind in ("DOUBLE", "FLOAT")]
    keys = [name for name, *_ in columns if name not in floats]
    order = ", ".join([*keys, *floats])
    place = f"row_number() over (partition by {', '.join(keys)} order by {order})"
    sides = [f"(select *, 1 as here, {place} as place from {side})" for side in (one, other)]
    same = " and ".join(f'one."{key}" is not distinct from other."{key}"' for key in [*keys, "place"])
    gaps = []
    for name in floats:
        a, b = f'one."{name}"', f'other."{name}"'
        # Infinities are equal to themselves; their difference is not a number.
        gaps.append(
            f"case when {a} is not distinct from {b} then 0"
            f" when not coalesce(isfinite({a}) and isfinite({b}), false) then 'infinity'::double"
            f" else abs({a} - {b}) / greatest(1, abs({a}), abs({b})) end"
        )
    gap = f"greatest({', '.join(gaps)})" if gaps else "0::double"
    return connection.execute(
        f"""
        select
            coalesce(max(case when one.here is not null and other.here is not null then {gap} end), 0),
            count(*) filter (where one.here is null or other.here is null)
        from {sides[0]} as one full join {sides[1]} as other on {same}
        """
    ).fetchone()
