"""The error rates of the package in small samples of the simulation that scripts/calibrate.py runs in full.

Seeds are fixed, so a result never changes by itself. The bars allow for three standard errors of the simulation; that
they still catch wrong inference is tested with wrong inference.
"""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import harness
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = 1_000
CLUSTERED_EXPERIMENTS = 400


def load_script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("calibrate", ROOT / "scripts" / "calibrate.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules["calibrate"] = module
    specification.loader.exec_module(module)
    return module


calibrate = load_script()


class Simulation:
    """One family of metrics at one size, analysed by the package."""

    def __init__(self, warehouse: harness.Warehouse, family: str, n: int, experiments: int) -> None:
        self.warehouse, self.family, self.n = warehouse, family, n
        calibrate.simulate(warehouse.connection, family, n, experiments, run=0)

    def analyse(self, **analysis: Any) -> pd.DataFrame:
        variables = calibrate.variables(self.family, **analysis)
        self.warehouse.dbt("run", vars=variables, select="+experiment_results")
        return self.warehouse.mart("experiment_results")

    def rates(self, results: pd.DataFrame) -> dict[str, tuple[dict[str, float], list[str]]]:
        """Rates and missed bars by cell."""
        cells = calibrate.count(results, self.family)
        metrics = calibrate.FAMILIES[self.family].metrics
        return {cell: calibrate.judge(self.n, metrics[cell.split(":")[0]], Counter(cells[cell])) for cell in cells}

    def missed(self, results: pd.DataFrame) -> list[str]:
        return [f"{cell}: {sentence}" for cell, (_, missed) in self.rates(results).items() for sentence in missed]


@pytest.fixture(scope="module")
def units(warehouse_factory: Callable[..., harness.Warehouse]) -> Simulation:
    return Simulation(warehouse_factory("duckdb"), "units", 100, EXPERIMENTS)


@pytest.fixture(scope="module")
def results_of_units(units: Simulation) -> pd.DataFrame:
    return units.analyse()


def test_means_rates_ratios_and_cuped_keep_their_bars(units: Simulation, results_of_units: pd.DataFrame) -> None:
    assert len(results_of_units) == EXPERIMENTS * 2 * len(calibrate.FAMILIES["units"].metrics)
    missed = units.missed(results_of_units)
    assert not missed, "\n".join(missed)


def test_cuped_removes_the_variance_that_the_covariate_explains(
    units: Simulation, results_of_units: pd.DataFrame
) -> None:
    rates, _ = units.rates(results_of_units)["cuped_mean"]
    assert rates["variance_reduction"] == pytest.approx(0.36, abs=0.05)


@pytest.fixture(scope="module")
def clustered(warehouse_factory: Callable[..., harness.Warehouse]) -> Simulation:
    return Simulation(warehouse_factory("duckdb"), "clustered", 100, CLUSTERED_EXPERIMENTS)


def test_clusters_keep_their_bars_in_both_arms_and_in_one(clustered: Simulation) -> None:
    missed = clustered.missed(clustered.analyse())
    assert not missed, "\n".join(missed)


def test_clusters_that_are_not_named_are_caught(clustered: Simulation) -> None:
    """Whole clusters in one arm, analysed as if units were independent: 5% become far more."""
    clustered.warehouse.execute("alter table raw.exposures rename column cluster_id to team_id")
    try:
        missed = clustered.missed(clustered.analyse())
    finally:
        clustered.warehouse.execute("alter table raw.exposures rename column team_id to cluster_id")
    assert any(sentence.startswith("clustered_mean:one: type1") for sentence in missed), missed
    assert not any(sentence.startswith("clustered_mean:both: type1") for sentence in missed), missed


def test_too_narrow_intervals_are_caught(units: Simulation, results_of_units: pd.DataFrame) -> None:
    narrow = results_of_units.copy()
    for scale in ("absolute", "relative"):
        for side in ("lower", "upper"):
            column = f"ci_{side}_{scale}"
            narrow[column] = narrow[f"effect_{scale}"] + 0.7 * (narrow[column] - narrow[f"effect_{scale}"])
    missed = "\n".join(units.missed(narrow))
    for cell in ("mean_sd1", "ratio", "cuped_mean", "cuped_ratio"):
        assert f"{cell}: coverage" in missed
        assert f"{cell}: relative_coverage" in missed
        assert f"{cell}: p-value and interval disagree" in missed


GOOD = {
    "experiments": 2000, "ok": 2000, "exact": 0, "below": 50, "above": 50, "interval_disagrees": 0,
    "relative": 2000, "relative_below": 50, "relative_above": 50, "sequential": 2000, "sequential_rejected": 5,
    "lift_experiments": 2000, "lift_ok": 2000, "miss_low": 50, "miss_high": 50,
    "lift_relative": 2000, "relative_miss_low": 50, "relative_miss_high": 50, "detected": 1000,
    "bias": 0.0, "squared_bias": 2000.0, "squared_error_claimed": 2000.0, "variance_reduction": 720.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "bar"),
    [
        ({}, None),
        ({"below": 75, "above": 75}, "type1 7.5% above 5.5%"),
        ({"below": 15, "above": 85}, "above 4.2% above 4%"),
        ({"relative_below": 90, "relative_above": 10}, "relative_below 4.5% above 4%"),
        ({"below": 20, "above": 20}, "type1 2.0% below 4%"),
        ({"miss_low": 100, "miss_high": 100}, "coverage 90.0% below 94%"),
        ({"relative_miss_low": 5, "relative_miss_high": 5}, "relative_coverage 99.5% above 97%"),
        ({"sequential_rejected": 101}, "sequential_type1 5.1% above 5%"),
        ({"ok": 1900}, "5.0% of the experiments have no result"),
        ({"interval_disagrees": 1}, "p-value and interval disagree in 1 experiments"),
        ({"bias": 200.0}, "mean effect +4.5 standard errors from the truth"),
        ({"variance_reduction": 500.0}, "variance reduction 0.250, rho squared 0.360"),
    ],
)
def test_every_bar_can_be_missed(change: dict[str, float], bar: str | None) -> None:
    metric = calibrate.FAMILIES["units"].metrics["cuped_mean"]
    _, missed = calibrate.judge(10_000, metric, Counter({**GOOD, **change}))
    assert missed == ([] if bar is None else [bar])


def test_records_of_several_runs_add_up() -> None:
    runs = [
        {"family": "units", "n": 100, "cells": {"ratio": {"experiments": 10, "below": number}}} for number in (1, 2)
    ]
    assert calibrate.add_up(runs) == {("units", 100, "ratio"): Counter(experiments=20, below=3)}


def test_the_seed_decides_the_data(warehouse_factory: Callable[..., harness.Warehouse]) -> None:
    connection = warehouse_factory("duckdb").connection
    sums = []
    for run in (0, 0, 1):
        calibrate.simulate(connection, "quantiles", 50, 4, run)
        sums.append(connection.execute("select sum(mild::decimal(18, 6)) from raw.simulated").fetchone()[0])
    assert sums[0] == sums[1] != sums[2]
