"""signal_validity: areas under the curve against scipy, errors against regressions clustered by unit, coverage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import harness
import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats
from test_signals_daily import START, draw_outcomes, draw_traces, load, settings

KEY = ["label_source", "label_name", "signal_name", "dimension_name", "dimension_value"]
LATE = START + pd.Timedelta(days=40)


def scores_of(generator: np.random.Generator, turns: pd.DataFrame, metric: str = "helpful") -> pd.DataFrame:
    """Labels that hang on the answer's length and on what was said of it next."""
    good = 0.7 - 0.4 * (turns["status"] != "ok") + 0.2 * (turns["output_chars"].fillna(0) > 200)
    return pd.DataFrame(
        {
            "score_id": metric + turns["trace_id"],
            "stage": "online",
            "evaluator_kind": "human",
            "metric_name": metric,
            "score": (generator.random(len(turns)) < good).astype(float),
            "evaluated_at": LATE,
            "trace_id": turns["trace_id"],
            "error": None,
        }
    )


def run(warehouse: harness.Warehouse, scores: pd.DataFrame, **vars: Any) -> pd.DataFrame:
    warehouse.load("evaluation_scores", scores, types={"error": "text", "score": "double", "trace_id": "text"})
    options = settings(**vars)
    options["inputs"] = [*options["inputs"], "evaluation_scores"]
    warehouse.dbt("run", vars=options, select=["+signal_validity"])
    mart = warehouse.mart("signal_validity")
    assert not mart.duplicated(KEY).any()
    refused = mart["status"] != "ok"
    assert mart["status_reason"].notna().equals(refused) and mart["auc"].isna().equals(refused)
    return mart


def clustered_auc(x: np.ndarray, y: np.ndarray, units: np.ndarray) -> tuple[float, float]:
    """Mann and Whitney's statistic from scipy; its error from all pairs, summed by unit."""
    auc = stats.mannwhitneyu(x[y == 1], x[y == 0]).statistic / ((y == 1).sum() * (y == 0).sum())
    wins = (x[y == 1][:, None] > x[y == 0][None, :]) + 0.5 * (x[y == 1][:, None] == x[y == 0][None, :])
    influence = np.zeros(len(x))
    influence[y == 1] = (wins.mean(axis=1) - auc) / (y == 1).sum()
    influence[y == 0] = (wins.mean(axis=0) - auc) / (y == 0).sum()
    by_unit = pd.Series(influence).groupby(units).sum()
    return auc, np.sqrt(len(by_unit) / (len(by_unit) - 1) * (by_unit**2).sum())


def test_areas_and_lifts_are_those_of_scipy_and_statsmodels(warehouse: harness.Warehouse) -> None:
    generator = np.random.default_rng(51)
    traces = draw_traces(generator, units=60)
    load(warehouse, traces, draw_outcomes(generator, traces))
    scores = scores_of(generator, traces.sample(frac=0.8, random_state=1))
    noise = scores.assign(score_id="x" + scores["score_id"], score=1 - scores["score"])
    unwanted = [
        noise.assign(stage="offline"),
        noise.assign(evaluator_kind="llm_judge", score_id="y" + scores["score_id"]),
        noise.assign(error="rate limit", score_id="z" + scores["score_id"]),
        noise.assign(stage="human", score_id="w" + scores["score_id"]),
        # An earlier version of the same score.
        scores.assign(score=1 - scores["score"], evaluated_at=LATE - pd.Timedelta(days=1)),
    ]
    mart = run(warehouse, pd.concat([scores, *unwanted], ignore_index=True), dimensions=["country"])
    rows = mart[mart["label_source"] == "human"].set_index(["signal_name", "dimension_name", "dimension_value"])
    turns = warehouse.mart("turns").merge(scores[["trace_id", "score"]], on="trace_id")
    flags = {
        "rephrase": ("is_mature", "is_rephrased"),
        "follow_up": ("is_mature", "is_followed_up"),
        "copy": ("is_outcome_mature", "is_copied"),
        "thumbs_up": ("is_outcome_mature", "is_thumbed_up"),
    }
    seen = 0
    for slice_name, slice_value in [("all", "all"), ("country", "fr"), ("country", "se")]:
        part = turns if slice_name == "all" else turns[turns[slice_name] == slice_value]
        signals = {name: part[part[known]].assign(x=lambda t, f=flag: t[f]) for name, (known, flag) in flags.items()}
        if slice_name == "all":
            signals |= {name: part.assign(x=part[name]).dropna(subset=["x"]) for name in ("latency_ms", "output_chars")}
        for name, known in signals.items():
            row = rows.loc[(name, slice_name, slice_value)]
            x, y = known["x"].to_numpy(dtype=float), known["score"].to_numpy()
            units = known["unit_id"].astype("category").cat.codes.to_numpy()
            assert (row["turns"], row["units"], row["positives"]) == (len(x), len(set(units)), y.sum())
            if row["status"] != "ok":
                continue
            auc, error = clustered_auc(x, y, units)
            by_unit = known.assign(x=x).groupby("unit_id")
            scarcest = [(by_unit["score"].max() == 1).sum(), (by_unit["score"].min() == 0).sum()]
            if name in flags:
                scarcest += [(by_unit["x"].max() == 1).sum(), (by_unit["x"].min() == 0).sum()]
            freedom = min(scarcest) - 1
            np.testing.assert_allclose(row["auc"], auc, rtol=1e-10)
            np.testing.assert_allclose(row["p_value"], 2 * stats.t.sf(abs(auc - 0.5) / error, freedom), rtol=1e-6)
            half = stats.t.isf(0.025, freedom) * error / (auc * (1 - auc))
            limits = 1 / (1 + np.exp(-(np.log(auc / (1 - auc)) + np.array([-half, half]))))
            np.testing.assert_allclose(row[["auc_ci_lower", "auc_ci_upper"]].to_numpy(dtype=float), limits, rtol=1e-7)
            seen += 1
            if name not in flags:
                assert pd.isna(row["lift"]) and pd.isna(row["turns_with_signal"])
                continue
            assert row["turns_with_signal"] == x.sum()
            fit = sm.OLS(y, sm.add_constant(x)).fit(cov_type="cluster", cov_kwds={"groups": units})
            # statsmodels counts two coefficients.
            lift_error = fit.bse[1] / np.sqrt((len(x) - 1) / (len(x) - 2))
            half = stats.t.isf(0.025, freedom) * lift_error
            np.testing.assert_allclose(row["lift"], fit.params[1], rtol=1e-9)
            limits = row[["lift_ci_lower", "lift_ci_upper"]].to_numpy(dtype=float)
            np.testing.assert_allclose(limits, [fit.params[1] - half, fit.params[1] + half], rtol=1e-6)
    assert seen >= 10
    for _, family in mart[mart["status"] == "ok"].groupby(["label_source", "label_name", "dimension_name"]):
        expected = stats.false_discovery_control(family["p_value"])
        np.testing.assert_allclose(family["p_value_adjusted"], expected, rtol=1e-9)
    completed = mart[(mart["label_name"] == "task_complete") & (mart["signal_name"] == "abandonment")]
    assert (completed["status_reason"] == "signal_uses_the_label").all()


def test_too_little_to_go_by_is_said(warehouse: harness.Warehouse) -> None:
    generator = np.random.default_rng(52)
    traces = draw_traces(generator, units=45)
    load(warehouse, traces)
    few = scores_of(generator, traces[traces["unit_id"].isin([f"u{unit}" for unit in range(20)])], "few")
    good = scores_of(generator, traces, "good").assign(score=1.0)
    mart = run(warehouse, pd.concat([few, good], ignore_index=True), outcomes=False)
    assert set(mart["label_source"]) == {"human"}
    reasons = mart.groupby("label_name")["status_reason"].unique()
    assert reasons["few"].tolist() == ["fewer_than_30_units"]
    assert reasons["good"].tolist() == ["one_class_only"]
    scores = warehouse.mart("int_evaluation_scores")
    assert len(scores) == len(few) + len(good)


def test_intervals_of_the_area_cover_where_turns_of_a_unit_are_alike(
    warehouse_factory: Callable[..., harness.Warehouse],
) -> None:
    """Each metric is a world: 60 units of 6 turns, one mood for label and signal, another for the label."""
    generator = np.random.default_rng(53)
    worlds, units, each = 200, 60, 6
    count = worlds * units * each
    unit = np.repeat(np.arange(worlds * units), each)
    shared, own = generator.normal(0, 1, worlds * units), generator.normal(0, 1, worlds * units)
    length = np.exp(5 + 0.5 * shared[unit] + 0.5 * generator.normal(0, 1, count))
    latent = 0.3 * shared[unit] + 0.8 * own[unit] + generator.normal(0, 1, count)
    traces = pd.DataFrame(
        {
            "trace_id": [f"t{row}" for row in range(count)],
            "unit_id": unit.astype(str),
            "session_id": [f"s{row}" for row in range(count)],
            "started_at": START + pd.to_timedelta(np.arange(count) % 1000, unit="min"),
            "latency_ms": 1000.0,
            "output_chars": length,
        }
    )
    scores = pd.DataFrame(
        {
            "score_id": traces["trace_id"],
            "stage": "online",
            "evaluator_kind": "human",
            "metric_name": [f"m{world}" for world in unit // units],
            "score": (latent > 0).astype(float),
            "evaluated_at": LATE,
            "trace_id": traces["trace_id"],
            "error": None,
        }
    )
    warehouse = warehouse_factory("duckdb")
    load(warehouse, traces)
    mart = run(warehouse, scores, outcomes=False)
    rows = mart[mart["signal_name"] == "output_chars"]
    assert len(rows) == worlds and (rows["status"] == "ok").all()
    # Both are normal with known correlation: the truth from many draws.
    draws = generator.normal(0, 1, (4, 2_000_000))
    x, y = 0.5 * draws[0] + 0.5 * draws[1], 0.3 * draws[0] + np.sqrt(1.64) * draws[2] > 0
    ranks = stats.rankdata(x)
    truth = (ranks[y].mean() - (y.sum() + 1) / 2) / (~y).sum()
    covered = (rows["auc_ci_lower"] <= truth) & (truth <= rows["auc_ci_upper"])
    assert 0.905 <= covered.mean() <= 0.99
