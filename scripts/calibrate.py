"""Calibration of the package: simulated experiments go through dbt, and the share of false alarms is counted.

    python scripts/calibrate.py                      everything; resumes where an earlier run stopped
    python scripts/calibrate.py --experiments 200    a small sample of every cell
    python scripts/calibrate.py --table              only print what the results so far say
    python scripts/calibrate.py --document           and write it into docs/calibration.md

Every metric is analysed twice in the same experiments: without an effect (type-I error) and with the treatment's values
multiplied (coverage). Results are added to a JSON file after every run of dbt, one record per run with plain counts, so
that records add up. Seeds follow from the cell and the number of the run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "calibration.md"
MARKERS = ("<!-- results -->", "<!-- end of results -->")
RUN_KEYS = ("family", "n", "run", "experiments")
SEED = 20240229
ALPHA = 0.05
LIFT = 1.2

EXPOSED_AT = "timestamp '2024-03-15 00:00:00'"
BEFORE_AT = "timestamp '2024-03-10 00:00:00'"
AFTER_AT = "timestamp '2024-03-16 00:00:00'"


def lognormal_moment(*exponents: np.ndarray) -> float:
    """Mean of exp of the sum of the exponents, each given by its weights on independent standard normals."""
    total = np.sum(exponents, axis=0)
    return math.exp(float(total @ total) / 2)


# Weights of log numerator and log denominator on four normals: denominator and rate now, the same before exposure.
_SHARED = 0.7
_NEW = math.sqrt(1 - _SHARED**2)
_RATIO_DENOMINATOR = np.array([0.6 * _SHARED, 0, 0.6 * _NEW, 0])
_RATIO_NUMERATOR = _RATIO_DENOMINATOR + np.array([0.2 * _SHARED, 0.5 * _SHARED, 0.2 * _NEW, 0.5 * _NEW])
_BEFORE_DENOMINATOR = np.array([0.6, 0, 0, 0])
_BEFORE_NUMERATOR = np.array([0.8, 0.5, 0, 0])

# Correlation of the logs that gives the values themselves a correlation of 0.6.
_MEAN_SIGMA = 0.8
_MEAN_RHO = 0.6
MEAN_LOG_RHO = math.log(1 + _MEAN_RHO * (math.exp(_MEAN_SIGMA**2) - 1)) / _MEAN_SIGMA**2

_RATIO = lognormal_moment(_RATIO_NUMERATOR) / lognormal_moment(_RATIO_DENOMINATOR)


def _ratio_correlation() -> float:
    """Correlation of a unit's linearised ratio with the same before exposure."""
    before = lognormal_moment(_BEFORE_NUMERATOR) / lognormal_moment(_BEFORE_DENOMINATOR)

    def product(first: tuple, second: tuple) -> float:
        return sum(a * b * lognormal_moment(v, w) for a, v in first for b, w in second)

    now = ((1, _RATIO_NUMERATOR), (-_RATIO, _RATIO_DENOMINATOR))
    then = ((1, _BEFORE_NUMERATOR), (-before, _BEFORE_DENOMINATOR))
    return product(now, then) / math.sqrt(product(now, now) * product(then, then))


_RATIO_RHO = _ratio_correlation()

_NORMAL_95 = 1.6448536269514722
_UNIT_LATENCY_SIGMA, _EVENT_LATENCY_SIGMA = 0.5, 0.7
_CLUSTER_SIGMA, _MEMBER_SIGMA = 0.5, 0.6


@dataclass(frozen=True)
class Metric:
    """A simulated metric: its configuration, its true value, and what is known about it."""

    label: str
    config: dict[str, Any]
    truth: float
    is_rare: bool = False
    # Fewer false alarms than 5% are expected here: few events (exact test) or a heavy tail.
    is_conservative: bool = False
    smallest_n: int = 0
    rho: float | None = None


def _mean(column: str, **more: Any) -> dict[str, Any]:
    return {"type": "mean", "value": column, **more}


def _ratio(numerator: str, denominator: str, **more: Any) -> dict[str, Any]:
    return {"type": "ratio", "value": numerator, "denominator": {"value": denominator}, **more}


@dataclass(frozen=True)
class Family:
    """Metrics that share units, and the number of experiments at each size of an arm."""

    metrics: dict[str, Metric]
    sizes: dict[int, int]
    units_per_run: int
    kinds: tuple[str, ...] = ("",)


FAMILIES = {
    "units": Family(
        metrics={
            "mean_sd1": Metric("mean, lognormal sd 1", _mean("mild"), math.exp(0.5)),
            "mean_sd2": Metric("mean, lognormal sd 2", _mean("heavy"), math.exp(2), is_conservative=True),
            "rate_2000": Metric("rate .2", {"type": "proportion", "where": "uniform < 0.2 * lift"}, 0.2),
            "rate_0100": Metric("rate .01", {"type": "proportion", "where": "uniform < 0.01 * lift"}, 0.01),
            "rate_0005": Metric(
                "rate .0005", {"type": "proportion", "where": "uniform < 0.0005 * lift"}, 0.0005, is_rare=True
            ),
            "ratio": Metric("ratio, correlated denominator", _ratio("numerator", "denominator"), _RATIO),
            "cuped_mean": Metric(
                "mean, CUPED", _mean("covaried", cuped=True), math.exp(_MEAN_SIGMA**2 / 2), rho=_MEAN_RHO
            ),
            "cuped_ratio": Metric(
                "ratio, CUPED", _ratio("numerator", "denominator", cuped=True), _RATIO, rho=_RATIO_RHO
            ),
        },
        sizes={100: 10_000, 500: 4_000, 2_000: 2_000, 10_000: 2_000},
        units_per_run=2_000_000,
    ),
    "clustered": Family(
        metrics={
            "clustered_mean": Metric("mean", _mean("numerator"), math.exp((_CLUSTER_SIGMA**2 + _MEMBER_SIGMA**2) / 2)),
            "clustered_ratio": Metric(
                "ratio", _ratio("numerator", "denominator"), math.exp((_CLUSTER_SIGMA**2 + _MEMBER_SIGMA**2) / 2)
            ),
        },
        sizes={100: 4_000, 500: 2_000, 2_000: 2_000},
        units_per_run=2_000_000,
        kinds=("both", "one"),
    ),
    "events": Family(
        metrics={
            "p95_events": Metric(
                "p95 of events",
                {"type": "quantile", "quantile": 0.95, "quantile_of": "events", "value": "latency"},
                math.exp(_NORMAL_95 * math.hypot(_UNIT_LATENCY_SIGMA, _EVENT_LATENCY_SIGMA)),
                smallest_n=500,
            ),
        },
        sizes={500: 2_000, 2_000: 2_000},
        units_per_run=1_000_000,
    ),
    "quantiles": Family(
        metrics={
            "p95_units": Metric(
                "p95 of units",
                {"type": "quantile", "quantile": 0.95, "value": "mild"},
                math.exp(_NORMAL_95),
                smallest_n=500,
            ),
        },
        sizes={500: 2_000, 2_000: 2_000, 10_000: 2_000},
        units_per_run=2_000_000,
    ),
}


def variables(family: str, **analysis: Any) -> dict[str, Any]:
    """The package's configuration for a family: every metric without (`__null`) and with (`__lift`) an effect."""
    metrics = []
    for name, metric in FAMILIES[family].metrics.items():
        for suffix in ("null", "lift"):
            config = {key: value for key, value in metric.config.items()}
            if suffix == "null" and "where" in config:
                config["where"] = config["where"].replace(" * lift", "")
            if suffix == "lift" and "value" in config:
                config["value"] += " * lift"
            metrics.append({"name": f"{name}_{suffix}", "fact": "simulated", **config})
    return {
        "raw_schema": "raw",
        "inputs": ["exposures"],
        "facts": [
            {
                "name": "simulated",
                "relation": "raw.simulated",
                "unit_column": "unit_id",
                "time_column": "occurred_at",
            }
        ],
        "metrics": metrics,
        "analysis": {"alpha": ALPHA, **analysis},
    }


def simulate(connection: duckdb.DuckDBPyConnection, family: str, n: int, experiments: int, run: int) -> None:
    """Fills raw.exposures and raw.simulated with experiments of n units an arm."""
    generator = np.random.default_rng([SEED, zlib.crc32(family.encode()), n, run])
    connection.execute("create schema if not exists raw")
    draw = {
        "units": _simulate_units,
        "clustered": _simulate_clustered,
        "events": _simulate_events,
        "quantiles": _simulate_quantiles,
    }
    draw[family](connection, generator, n, experiments)


def _expose(connection: Any, n: int, total: int) -> None:
    """Units 0 to total - 1 by experiment, and within an experiment first the control."""
    connection.execute(
        f"""
        create or replace table raw.exposures as
        select
            'x' || (unit_id // {2 * n}) as experiment_id,
            case when unit_id % {2 * n} < {n} then 'control' else 'treatment' end as variation_id,
            unit_id,
            {EXPOSED_AT} as exposed_at
        from (select unnest(range({total})) as unit_id)
        """
    )


def _simulate_units(connection: Any, generator: np.random.Generator, n: int, experiments: int) -> None:
    total = 2 * n * experiments

    def normal() -> np.ndarray:
        return generator.standard_normal(total)

    now, before = {}, {}
    now["mild"] = np.exp(normal())
    now["heavy"] = np.exp(2 * normal())
    now["uniform"] = generator.random(total)
    shared = normal()
    before["covaried"] = np.exp(_MEAN_SIGMA * shared)
    now["covaried"] = np.exp(_MEAN_SIGMA * (MEAN_LOG_RHO * shared + math.sqrt(1 - MEAN_LOG_RHO**2) * normal()))
    normals = [normal() for _ in range(4)]
    for columns, name, weights in (
        (now, "denominator", _RATIO_DENOMINATOR),
        (now, "numerator", _RATIO_NUMERATOR),
        (before, "denominator", _BEFORE_DENOMINATOR),
        (before, "numerator", _BEFORE_NUMERATOR),
    ):
        columns[name] = np.exp(sum(weight * z for weight, z in zip(weights, normals, strict=True) if weight))
    del normals, shared
    table = pa.table(
        {"unit_id": np.arange(total, dtype=np.int32)}
        | {f"now_{name}": values for name, values in now.items()}
        | {f"before_{name}": values for name, values in before.items()}
    )
    connection.register("drawn", table)
    _expose(connection, n, total)
    after = ", ".join(f"now_{name} as {name}" for name in now)
    earlier = ", ".join(f"before_{name}" if name in before else "null" for name in now)
    connection.execute(
        f"""
        create or replace table raw.simulated as
        select unit_id, {AFTER_AT} as occurred_at, {after},
            case when unit_id % {2 * n} < {n} then 1 else {LIFT} end as lift
        from drawn
        union all
        select unit_id, {BEFORE_AT}, {earlier}, 1 from drawn
        """
    )
    connection.unregister("drawn")


def _simulate_clustered(connection: Any, generator: np.random.Generator, n: int, experiments: int) -> None:
    """Experiments by turns with clusters that hold both arms and with clusters that lie in one arm whole."""
    total = 2 * n * experiments
    clusters = 2 * n // 10
    experiment = np.repeat(np.arange(experiments, dtype=np.int32), 2 * n)
    # Sizes vary around ten; a cluster's number is within its experiment.
    cluster = generator.integers(0, clusters, total)
    arm_of_unit = np.tile(np.arange(2 * n) < n, experiments)
    arm_of_cluster = generator.permuted(np.tile(np.arange(clusters) % 2 == 0, (experiments, 1)), axis=1).ravel()
    position = experiment * clusters + cluster
    is_treated = np.where(experiment % 2 == 0, arm_of_unit, arm_of_cluster[position])
    effects = generator.standard_normal(clusters * experiments)[position]
    sizes = generator.standard_normal(clusters * experiments)[position]
    denominator = np.exp(0.3 * sizes + 0.5 * generator.standard_normal(total))
    # The denominator is scaled to mean one and does not move the rate, so that both metrics have the same truth.
    denominator /= math.exp((0.3**2 + 0.5**2) / 2)
    rate = np.exp(_CLUSTER_SIGMA * effects + _MEMBER_SIGMA * generator.standard_normal(total))
    table = pa.table(
        {
            "unit_id": np.arange(total, dtype=np.int32),
            "experiment": experiment,
            "cluster": cluster,
            "is_treated": is_treated,
            "numerator": denominator * rate,
            "denominator": denominator,
        }
    )
    connection.register("drawn", table)
    connection.execute(
        f"""
        create or replace table raw.exposures as
        select
            case when experiment % 2 = 0 then 'both' else 'one' end || experiment as experiment_id,
            case when is_treated then 'treatment' else 'control' end as variation_id,
            unit_id,
            {EXPOSED_AT} as exposed_at,
            'c' || cluster as cluster_id
        from drawn
        """
    )
    connection.execute(
        f"""
        create or replace table raw.simulated as
        select unit_id, {AFTER_AT} as occurred_at, numerator, denominator,
            case when is_treated then {LIFT} else 1 end as lift
        from drawn
        """
    )
    connection.unregister("drawn")


def _simulate_events(connection: Any, generator: np.random.Generator, n: int, experiments: int) -> None:
    total = 2 * n * experiments
    unit = np.arange(total, dtype=np.int32)
    events_of_unit = 1 + generator.poisson(2, total)
    of_unit = np.repeat(_UNIT_LATENCY_SIGMA * generator.standard_normal(total), events_of_unit)
    latency = np.exp(of_unit + _EVENT_LATENCY_SIGMA * generator.standard_normal(of_unit.size))
    drawn = pa.table({"unit_id": np.repeat(unit, events_of_unit), "latency": latency})
    _expose(connection, n, total)
    connection.register("drawn", drawn)
    connection.execute(
        f"""
        create or replace table raw.simulated as
        select unit_id, {AFTER_AT} as occurred_at, latency,
            case when unit_id % {2 * n} < {n} then 1 else {LIFT} end as lift
        from drawn
        """
    )
    connection.unregister("drawn")


def _simulate_quantiles(connection: Any, generator: np.random.Generator, n: int, experiments: int) -> None:
    total = 2 * n * experiments
    drawn = pa.table({"unit_id": np.arange(total, dtype=np.int32), "mild": np.exp(generator.standard_normal(total))})
    _expose(connection, n, total)
    connection.register("drawn", drawn)
    connection.execute(
        f"""
        create or replace table raw.simulated as
        select unit_id, {AFTER_AT} as occurred_at, mild,
            case when unit_id % {2 * n} < {n} then 1 else {LIFT} end as lift
        from drawn
        """
    )
    connection.unregister("drawn")


def count(results: pd.DataFrame, family: str) -> dict[str, dict[str, float]]:
    """Counts of one run's `experiment_results` by cell, ready to be added to those of other runs."""
    cells = {}
    kinds = FAMILIES[family].kinds
    for kind in kinds:
        rows_of_kind = results[results.experiment_id.str.startswith(kind)] if kind else results
        for name, metric in FAMILIES[family].metrics.items():
            null = rows_of_kind[rows_of_kind.metric_name == f"{name}_null"]
            lift = rows_of_kind[rows_of_kind.metric_name == f"{name}_lift"]
            cells[f"{name}:{kind}" if kind else name] = _count_cell(null, lift, metric)
    return cells


def _count_cell(null: pd.DataFrame, lift: pd.DataFrame, metric: Metric) -> dict[str, float]:
    ok = null[null.status == "ok"]
    rejected = ok.p_value < ALPHA
    effect = metric.truth * (LIFT - 1)
    lifted = lift[lift.status == "ok"]
    bias = lifted.effect_absolute - effect
    counts = {
        "experiments": len(null),
        "ok": len(ok),
        "exact": (ok.adjustment == "exact").sum(),
        "below": (rejected & (ok.effect_absolute < 0)).sum(),
        "above": (rejected & (ok.effect_absolute > 0)).sum(),
        "interval_disagrees": (rejected != ((ok.ci_lower_absolute > 0) | (ok.ci_upper_absolute < 0))).sum(),
        "relative": ok.ci_lower_relative.notna().sum(),
        "relative_below": (ok.ci_upper_relative < 0).sum(),
        "relative_above": (ok.ci_lower_relative > 0).sum(),
        "sequential": ok.sequential_p_value.notna().sum(),
        "sequential_rejected": (ok.sequential_p_value < ALPHA).sum(),
        "lift_experiments": len(lift),
        "lift_ok": len(lifted),
        "miss_low": (lifted.ci_upper_absolute < effect).sum(),
        "miss_high": (lifted.ci_lower_absolute > effect).sum(),
        "lift_relative": lifted.ci_lower_relative.notna().sum(),
        "relative_miss_low": (lifted.ci_upper_relative < LIFT - 1).sum(),
        "relative_miss_high": (lifted.ci_lower_relative > LIFT - 1).sum(),
        "detected": (lifted.p_value < ALPHA).sum(),
        "bias": bias.sum(),
        "squared_bias": (bias**2).sum(),
        "squared_error_claimed": (lifted.se_absolute**2).sum(),
        "variance_reduction": ok.variance_reduction.sum() if metric.rho else 0.0,
    }
    return {key: float(value) if isinstance(value, float) else int(value) for key, value in counts.items()}


def run_dbt(database: Path, target: Path, settings: dict[str, Any], words: Iterable[str], project: Path = ROOT) -> None:
    """One dbt command in a process of its own, so that its memory is returned."""
    environment = os.environ | {
        "EVALHOUSE_DUCKDB_PATH": str(database),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        "DBT_PROFILES_DIR": str(ROOT),
    }
    command = [sys.executable, "-m", "dbt.cli.main", "--quiet", *words]
    command += ["--target", "duckdb", "--target-path", str(target), "--log-path", str(target / "logs")]
    command += ["--project-dir", str(project), "--vars", json.dumps(settings, sort_keys=True)]
    done = subprocess.run(command, env=environment, cwd=project, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"dbt {' '.join(words)} failed\n{done.stdout}\n{done.stderr}")


def plan(experiments: int | None, families: list[str], sizes: list[int] | None) -> Iterator[dict[str, Any]]:
    """The runs of dbt that are wanted: {family, n, run, experiments}."""
    for name in families:
        family = FAMILIES[name]
        for n, wanted in family.sizes.items():
            if sizes and n not in sizes:
                continue
            # Kinds take turns within a run.
            left = min(experiments or wanted, wanted) * len(family.kinds)
            most = max(len(family.kinds), family.units_per_run // (2 * n))
            run = 0
            while left > 0:
                yield {"family": name, "n": n, "run": run, "experiments": min(most, left)}
                left -= most
                run += 1


def load_results(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())["runs"] if path.exists() else []


def save_results(path: Path, runs: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"seed": SEED, "runs": runs}, indent=1))
    partial.replace(path)


def digest(project: Path) -> str:
    """Names the package's code, so that every record says what it was measured on."""
    hashed = hashlib.sha256()
    for file in sorted(item for folder in ("macros", "models") for item in (project / folder).rglob("*.sql")):
        hashed.update(str(file.relative_to(project)).encode() + b"\0" + file.read_bytes() + b"\0")
    return hashed.hexdigest()[:12]


def calibrate(
    results: Path,
    directory: Path,
    experiments: int | None,
    families: list[str],
    sizes: list[int] | None,
    project: Path = ROOT,
) -> list[dict[str, Any]]:
    runs = load_results(results)
    done = {tuple(run[key] for key in RUN_KEYS) for run in runs}
    wanted = list(plan(experiments, families, sizes))
    started = time.time()
    package = digest(project)
    for number, item in enumerate(wanted, 1):
        if tuple(item[key] for key in RUN_KEYS) in done:
            continue
        begun = time.time()
        work = directory / item["family"]
        work.mkdir(parents=True, exist_ok=True)
        database = work / "calibration.duckdb"
        for leftover in work.glob("calibration.duckdb*"):
            leftover.unlink()
        with duckdb.connect(str(database)) as connection:
            simulate(connection, item["family"], item["n"], item["experiments"], item["run"])
        drawn = time.time()
        words = ["run", "--select", "+experiment_results"]
        run_dbt(database, work / "target", variables(item["family"]), words, project)
        with duckdb.connect(str(database), read_only=True) as connection:
            frame = connection.sql("from main_evalhouse.experiment_results").df()
        database.unlink()
        seconds = round(time.time() - begun, 1)
        runs.append({**item, "package": package, "seconds": seconds, "cells": count(frame, item["family"])})
        save_results(results, runs)
        print(
            f"{time.strftime('%H:%M:%S')} run {number}/{len(wanted)}: {item['family']} n={item['n']} "
            f"#{item['run']} {item['experiments']} experiments, drawn in {drawn - begun:.0f} s, "
            f"analysed in {time.time() - drawn:.0f} s, total {time.time() - started:.0f} s",
            flush=True,
        )
    return runs


def add_up(runs: Iterable[dict[str, Any]]) -> dict[tuple[str, int, str], Counter]:
    """Counts by (family, n, cell) over all runs."""
    totals: dict[tuple[str, int, str], Counter] = {}
    for run in runs:
        for cell, counts in run["cells"].items():
            totals.setdefault((run["family"], run["n"], cell), Counter()).update(counts)
    return totals


def _error(share: float, number: float) -> float:
    return math.sqrt(max(share * (1 - share), 0.05 * 0.95 / 4) / number) if number else math.inf


def judge(n: int, metric: Metric, counts: Counter) -> tuple[dict[str, float], list[str]]:
    """The rates of a cell and the bars that it misses. Three standard errors of the simulation are allowed for."""
    experiments = counts["experiments"]
    number = counts["lift_experiments"]
    rates = {
        "type1": (counts["below"] + counts["above"]) / experiments,
        "below": counts["below"] / experiments,
        "above": counts["above"] / experiments,
        # A relative interval without a bound contains everything: it never rejects and never misses.
        "relative_type1": (counts["relative_below"] + counts["relative_above"]) / experiments,
        "relative_below": counts["relative_below"] / experiments,
        "relative_above": counts["relative_above"] / experiments,
        "relative_refused": 1 - counts["relative"] / experiments,
        "coverage": 1 - (counts["miss_low"] + counts["miss_high"]) / number,
        "relative_coverage": 1 - (counts["relative_miss_low"] + counts["relative_miss_high"]) / number,
        "sequential_type1": counts["sequential_rejected"] / experiments,
        "refused": 1 - counts["ok"] / experiments,
        "exact": counts["exact"] / experiments,
        "power": counts["detected"] / number,
    }
    missed = []
    if n >= metric.smallest_n:
        for name in ("type1", "relative_type1"):
            if rates[name] - 3 * _error(rates[name], experiments) > 0.055:
                missed.append(f"{name} {rates[name]:.1%} above 5.5%")
        for name in ("below", "above", "relative_below", "relative_above"):
            # 4% is beyond three standard errors of 2.5% in 1,000 experiments; fewer of them vary more.
            if rates[name] > max(0.04, 0.025 + 3 * _error(0.025, experiments)):
                missed.append(f"{name} {rates[name]:.1%} above 4%")
        if n >= 10_000 and not metric.is_rare and rates["type1"] + 3 * _error(rates["type1"], experiments) < 0.04:
            missed.append(f"type1 {rates['type1']:.1%} below 4%")
        # Few events or a heavy tail make the test conservative: too wide an interval is expected there, not too narrow.
        may_be_wide = metric.is_conservative or metric.is_rare or rates["exact"] > 0
        for name in ("coverage", "relative_coverage"):
            margin = 3 * _error(1 - rates[name], number)
            if rates[name] + margin < 0.94:
                missed.append(f"{name} {rates[name]:.1%} below 94%")
            if rates[name] - margin > 0.97 and not may_be_wide:
                missed.append(f"{name} {rates[name]:.1%} above 97%")
        if rates["sequential_type1"] > ALPHA:
            missed.append(f"sequential_type1 {rates['sequential_type1']:.1%} above 5%")
        if rates["refused"] > 0.01:
            missed.append(f"{rates['refused']:.1%} of the experiments have no result")
        if counts["interval_disagrees"]:
            missed.append(f"p-value and interval disagree in {counts['interval_disagrees']} experiments")
        if counts["lift_ok"] > 1:
            bias = counts["bias"] / counts["lift_ok"]
            spread = counts["squared_bias"] / counts["lift_ok"] - bias**2
            if spread > 0:
                rates["bias_in_errors"] = bias / math.sqrt(spread / counts["lift_ok"])
                rates["error_ratio"] = math.sqrt(counts["squared_error_claimed"] / counts["lift_ok"] / spread)
        if metric.rho:
            rates["variance_reduction"] = counts["variance_reduction"] / max(counts["ok"], 1)
            if abs(rates.get("bias_in_errors", 0)) > 3:
                missed.append(f"mean effect {rates['bias_in_errors']:+.1f} standard errors from the truth")
            if abs(rates["variance_reduction"] - metric.rho**2) > 0.05:
                missed.append(f"variance reduction {rates['variance_reduction']:.3f}, rho squared {metric.rho**2:.3f}")
    return rates, missed


def judged(runs: Iterable[dict[str, Any]]) -> Iterator[tuple[str, int, str, Metric, Counter, dict, list[str]]]:
    for (family, n, cell), counts in add_up(runs).items():
        metric = FAMILIES[family].metrics[cell.split(":")[0]]
        rates, missed = judge(n, metric, counts)
        yield family, n, cell, metric, counts, rates, missed


def judged_in_order(runs: Iterable[dict[str, Any]]) -> list[tuple[str, int, str, Metric, Counter, dict, list[str]]]:
    order = list(FAMILIES)

    def position(row: tuple) -> tuple:
        family, n, cell = row[:3]
        return order.index(family), list(FAMILIES[family].metrics).index(cell.split(":")[0]), cell, n

    return sorted(judged(runs), key=position)


def label_of(cell: str, metric: Metric) -> str:
    kind = cell.partition(":")[2]
    return metric.label + {"": "", "both": ", clusters in both arms", "one": ", clusters in one arm"}[kind]


def table(runs: Iterable[dict[str, Any]]) -> tuple[str, list[str]]:
    """The results as a Markdown table, and the bars missed, as sentences."""
    heads = [
        "metric", "n per arm", "experiments", "type I", "below / above", "relative type I", "below / above",
        "coverage", "relative coverage", "sequential", "exact", "relative refused", "SE / spread", "VR (rho^2)",
    ]  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "--:|" * (len(heads) - 1)]
    failures = []
    for _, n, cell, metric, counts, rates, missed in judged_in_order(runs):
        reduction = f"{rates['variance_reduction']:.3f} ({metric.rho**2:.3f})" if "variance_reduction" in rates else ""
        values = [
            label_of(cell, metric),
            f"{n:,}",
            f"{counts['experiments']:,}",
            f"{rates['type1']:.2%}",
            f"{rates['below']:.2%} / {rates['above']:.2%}",
            f"{rates['relative_type1']:.2%}",
            f"{rates['relative_below']:.2%} / {rates['relative_above']:.2%}",
            f"{rates['coverage']:.2%}",
            f"{rates['relative_coverage']:.2%}",
            f"{rates['sequential_type1']:.2%}",
            f"{rates['exact']:.0%}",
            f"{rates['relative_refused']:.1%}",
            f"{rates['error_ratio']:.3f}" if "error_ratio" in rates else "",
            reduction,
        ]
        lines.append("| " + " | ".join(values) + " |")
        failures += [f"{label_of(cell, metric)}, n={n:,}: {sentence}" for sentence in missed]
    return "\n".join(lines), failures


def write_document(runs: list[dict[str, Any]]) -> None:
    """Replaces what stands between the markers of the document."""
    text, failures = table(runs)
    known = {tuple(run[key] for key in RUN_KEYS) for run in runs}
    wanted = [tuple(item[key] for key in RUN_KEYS) for item in plan(None, list(FAMILIES), None)]
    packages = ", ".join(sorted({run.get("package", "not recorded") for run in runs}))
    done = sum(item in known for item in wanted)
    state = f"{done} of {len(wanted)} runs of dbt, seed {SEED}; code measured (hash of models and macros): {packages}."
    missed = (
        "\n".join(["Missed bars:", "", *(f"- {sentence}" for sentence in failures)]) if failures else "No bar missed."
    )
    replace_in_document(MARKERS, f"{state}\n\n{text}\n\n{missed}")


def replace_in_document(markers: tuple[str, str], body: str) -> None:
    before, _, rest = DOCUMENT.read_text().partition(markers[0])
    _, found, after = rest.partition(markers[1])
    if not found:
        raise SystemExit(f"calibrate: {DOCUMENT.relative_to(ROOT)} lacks {markers[0]} or {markers[1]}")
    DOCUMENT.write_text(f"{before}{markers[0]}\n\n{body}\n\n{markers[1]}{after}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "bench_results" / "calibration.json")
    parser.add_argument("--work-dir", type=Path, default=ROOT / "bench_results" / "work")
    parser.add_argument("--experiments", type=int, help="at most so many a cell")
    parser.add_argument("--family", action="append", choices=list(FAMILIES))
    parser.add_argument("--n", action="append", type=int, help="only this size of an arm")
    parser.add_argument("--project", type=Path, default=ROOT, help="another copy of the package")
    parser.add_argument("--table", action="store_true", help="only print what the results so far say")
    parser.add_argument("--document", action="store_true", help="the same, and write it into docs/calibration.md")
    arguments = parser.parse_args()
    if arguments.table or arguments.document:
        runs = load_results(arguments.results)
    else:
        runs = calibrate(
            arguments.results,
            arguments.work_dir,
            arguments.experiments,
            arguments.family or list(FAMILIES),
            arguments.n,
            arguments.project.resolve(),
        )
    if arguments.document:
        write_document(runs)
    text, failures = table(runs)
    print(text)
    print(*(["", "Missed:", *failures] if failures else ["", "Every cell keeps its bars."]), sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
