"""Daily marts over turns: signals, trace quality, failures. Counted again with pandas and statsmodels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import harness
import numpy as np
import pandas as pd
import statsmodels.api as sm
from scipy import stats

START = pd.Timestamp("2024-03-01")
EXPOSURE_TYPES = {"experiment_id": "text", "variation_id": "text", "unit_id": "text", "exposed_at": "timestamp"}
OUTCOME_TYPES = {
    "outcome_id": "text",
    "unit_id": "text",
    "event_name": "text",
    "occurred_at": "timestamp",
    "trace_id": "text",
    "value": "double",
}
KEY = ["model_version", "dimension_name", "dimension_value"]


def settings(outcomes: bool = True, **more: Any) -> dict[str, Any]:
    inputs = ["exposures", "traces"] + (["outcomes"] if outcomes else [])
    return {"raw_schema": "raw", "inputs": inputs, "metrics": [], **more}


def load(warehouse: harness.Warehouse, traces: pd.DataFrame, outcomes: pd.DataFrame | None = None) -> None:
    warehouse.load("exposures", pd.DataFrame(columns=list(EXPOSURE_TYPES)), types=EXPOSURE_TYPES)
    types = {"trace_id": "text", "unit_id": "text", "session_id": "text", "started_at": "timestamp"}
    warehouse.load("traces", traces, types={name: kind for name, kind in types.items() if name in traces})
    if outcomes is not None:
        warehouse.load("outcomes", outcomes, types={k: v for k, v in OUTCOME_TYPES.items() if k in outcomes})


def run(warehouse: harness.Warehouse, *marts: str, **vars: Any) -> list[pd.DataFrame]:
    warehouse.dbt("run", vars=settings(**vars), select=[f"+{mart}" for mart in marts])
    return [warehouse.mart(mart) for mart in marts]


def clustered_error(events: np.ndarray, weights: np.ndarray, units: np.ndarray) -> float:
    """Of a weighted mean: statsmodels' correction is n / (n - 1) where there is one regressor."""
    fit = sm.WLS(events, np.ones(len(events)), weights=weights).fit(cov_type="cluster", cov_kwds={"groups": units})
    return float(fit.bse[0])


def draw_traces(generator: np.random.Generator, units: int = 40, days: int = 4) -> pd.DataFrame:
    """Sessions of turns of which each needs its unit's mood; dimensions and weights differ within a unit."""
    rows = []
    for unit in range(units):
        mood = generator.beta(2, 4)
        for day in range(days):
            if generator.random() < 0.3:
                continue
            time = START + pd.Timedelta(days=day, seconds=float(generator.integers(0, 70_000)))
            for turn in range(int(generator.integers(1, 7))):
                latency = float(np.exp(generator.normal(8, 0.8)))
                repeats = turn > 0 and generator.random() < mood
                text = rows[-1]["input_text"] if repeats else f"question {len(rows)} of {unit}"
                status = str(generator.choice(["ok", "error", "timeout", "refusal"], p=[0.9, 0.04, 0.03, 0.03]))
                output = "x" * int(generator.integers(1, 500)) + ("```py" if generator.random() < 0.1 else "")
                rows.append(
                    {
                        "trace_id": f"t{unit}-{day}-{turn}",
                        "unit_id": f"u{unit}",
                        "session_id": f"s{unit}-{day}",
                        "started_at": time,
                        "ended_at": time + pd.Timedelta(milliseconds=round(latency)),
                        "latency_ms": latency,
                        "ttft_ms": latency / 4,
                        "input_text": text,
                        "output_text": output if status == "ok" else None,
                        "output_chars": float(len(output)) if status == "ok" and generator.random() < 0.95 else 0.0,
                        "input_tokens": float(generator.integers(5, 90)),
                        "output_tokens": float(generator.integers(5, 400)),
                        "cost_usd": float(generator.random() / 100),
                        "render_limit_chars": 400.0,
                        "status": status,
                        "finish_reason": str(generator.choice(["stop", "length"], p=[0.9, 0.1])),
                        "model_version": ["v1", "v2", None][int(generator.integers(3))],
                        "language": ["en", None][int(generator.integers(2))],
                        "country": ["fr", "se"][int(generator.integers(2))],
                        "sample_weight": float(generator.choice([1.0, 2.5])),
                    }
                )
                time += pd.Timedelta(seconds=float(generator.choice([30, 200, 2500])) + latency / 1000)
    return pd.DataFrame(rows)


def draw_outcomes(generator: np.random.Generator, traces: pd.DataFrame) -> pd.DataFrame:
    shares = {"copy": 0.2, "thumbs_up": 0.1, "thumbs_down": 0.05, "rating": 0.05, "stop": 0.03, "escalation": 0.02}
    rows = []
    for name, share in shares.items():
        drawn = traces[generator.random(len(traces)) < share]
        rows.append(
            pd.DataFrame(
                {
                    "unit_id": drawn["unit_id"],
                    "event_name": name,
                    "occurred_at": drawn["ended_at"] + pd.Timedelta(seconds=40),
                    "trace_id": drawn["trace_id"],
                    "value": 4.0,
                }
            )
        )
    outcomes = pd.concat(rows, ignore_index=True)
    return outcomes.assign(outcome_id=[f"o{row}" for row in range(len(outcomes))])


def with_slices(turns: pd.DataFrame, dimensions: list[str]) -> pd.DataFrame:
    turns = turns.assign(
        date=turns["started_at"].dt.normalize(), model_version=turns["model_version"].fillna("(missing)")
    )
    everyone = turns.assign(dimension_name="all", dimension_value="all")
    sliced = [turns.assign(dimension_name=name, dimension_value=turns[name].fillna("(missing)")) for name in dimensions]
    return pd.concat([everyone, *sliced], ignore_index=True)


FLAGS = {
    "rephrase": ("is_mature", lambda t: t["is_rephrased"]),
    "exact_retry": ("is_mature", lambda t: t["is_exact_retry"]),
    "follow_up": ("is_mature", lambda t: t["is_followed_up"]),
    "copy": ("is_outcome_mature", lambda t: t["is_copied"]),
    "thumbs_down": ("is_outcome_mature", lambda t: t["is_thumbed_down"]),
    "feedback_response": (
        "is_outcome_mature",
        lambda t: t["is_thumbed_up"] | t["is_thumbed_down"] | t["is_rated"],
    ),
    "escalation": ("is_day_mature", lambda t: t["is_escalated"]),
    "abandonment": ("is_outcome_mature", lambda t: t["is_abandoned"]),
    "abandonment_after_negative": ("is_outcome_mature", lambda t: t["abandon_kind"] == "after_negative"),
}


def test_rates_and_intervals_are_those_of_a_clustered_regression(warehouse: harness.Warehouse) -> None:
    generator = np.random.default_rng(4)
    traces = draw_traces(generator)
    load(warehouse, traces, draw_outcomes(generator, traces))
    dimensions = ["country", "language"]
    (daily,) = run(warehouse, "implicit_signals_daily", dimensions=["country"], protected_dimensions=["language"])
    turns = with_slices(warehouse.mart("turns"), dimensions)
    assert not daily.duplicated(["signal_date", *KEY, "signal_name"]).any()
    rows = daily.set_index(["signal_name", "signal_date", *KEY])
    seen = 0
    for name, (maturity, flag) in FLAGS.items():
        for key, group in turns.groupby(["date", *KEY]):
            row = rows.loc[(name, *key)]
            known = group[group[maturity]]
            if name.startswith("abandonment"):
                known = known[known["is_abandoned"].notna()]
            assert row["turns_mature"] == len(known)
            assert row["units"] == known["unit_id"].nunique()
            if len(known) == 0:
                assert pd.isna(row["rate"]) and row["status"] == "insufficient"
                continue
            events = flag(known).fillna(False).to_numpy(dtype=float)
            assert row["turns_with_signal"] == events.sum()
            weights = known["sample_weight"].to_numpy()
            np.testing.assert_allclose(row["rate"], np.average(events, weights=weights), rtol=1e-12)
            assert row["units"] < 2 or row["ci_lower"] <= row["rate"] <= row["ci_upper"]
            by_unit = known.assign(event=events).groupby("unit_id")["event"]
            few = min((by_unit.sum() > 0).sum(), (by_unit.mean() < 1).sum())
            if row["units"] < 2 or few == 0:
                continue
            error = clustered_error(events, weights, known["unit_id"].astype("category").cat.codes.to_numpy())
            total = known.groupby("unit_id")["sample_weight"].sum()
            size_in_units = total.sum() ** 2 / (total**2).sum()
            size = row["rate"] * (1 - row["rate"]) / error**2
            unseen = 1 / (1 + few) ** 2
            effective = 1 / ((1 - unseen) / size + unseen / min(size, size_in_units))
            np.testing.assert_allclose(row["effective_turns"], effective, rtol=1e-8)
            t = stats.t.isf(0.025, row["units"] - 1)
            centre = (row["rate"] + t**2 / (2 * effective)) / (1 + t**2 / effective)
            half = np.sqrt(row["rate"] * (1 - row["rate"]) / effective + t**2 / (4 * effective**2))
            half *= t / (1 + t**2 / effective)
            np.testing.assert_allclose([row["ci_lower"], row["ci_upper"]], [centre - half, centre + half], rtol=1e-7)
            seen += 1
    assert seen > 200
    # What is not mature is counted beside the rate.
    everyone = daily[daily["dimension_name"] == "all"].groupby("signal_name")[["turns_mature", "turns_immature"]].sum()
    assert (everyone.drop(["abandonment", "abandonment_after_negative"]).sum(axis=1) == len(traces)).all()
    assert (everyone["turns_immature"] > 0).all()
    assert daily.loc[daily["rate"].isna() | daily["ci_lower"].isna(), "status_reason"].notna().all()


def test_without_outcomes_their_signals_have_no_rows(warehouse: harness.Warehouse) -> None:
    load(warehouse, draw_traces(np.random.default_rng(2), units=5, days=2))
    (daily,) = run(warehouse, "implicit_signals_daily", outcomes=False)
    assert set(daily["signal_name"]) == {
        "rephrase",
        "exact_retry",
        "follow_up",
        "abandonment",
        "abandonment_after_negative",
    }
    assert daily["turns_mature"].sum() > 0


def test_dead_outcomes_freeze_only_what_needs_them(warehouse: harness.Warehouse) -> None:
    generator = np.random.default_rng(3)
    traces = draw_traces(generator)
    outcomes = draw_outcomes(generator, traces)
    load(warehouse, traces, outcomes[outcomes["occurred_at"] < START + pd.Timedelta(days=1)])
    (daily,) = run(warehouse, "implicit_signals_daily")
    late = daily[(daily["signal_date"] == START + pd.Timedelta(days=2)) & (daily["dimension_name"] == "all")]
    mature = late.groupby("signal_name")["turns_mature"].sum()
    assert mature["rephrase"] > 0
    assert (mature.drop(["rephrase", "exact_retry", "follow_up"]) == 0).all()
    assert late.loc[late["turns_mature"] == 0, "rate"].isna().all()


def test_a_closed_day_stays_when_later_days_arrive(warehouse: harness.Warehouse) -> None:
    generator = np.random.default_rng(8)
    traces = draw_traces(generator, days=5)
    outcomes = draw_outcomes(generator, traces)
    cut = START + pd.Timedelta(days=3, hours=12)
    marts = ["implicit_signals_daily", "failure_modes", "trace_quality_daily"]
    load(warehouse, traces[traces["started_at"] < cut], outcomes[outcomes["occurred_at"] < cut])
    before = run(warehouse, *marts, dimensions=["country"])
    load(warehouse, traces, outcomes)
    after = run(warehouse, *marts, dimensions=["country"])
    keys = [["signal_date", *KEY, "signal_name"], ["failure_date", *KEY, "failure_mode"], ["trace_date", *KEY]]
    for early, late, key in zip(before, after, keys, strict=True):
        closed = early[early["is_complete"]]
        assert closed[key[0]].max() < cut.normalize() and closed[key[0]].nunique() >= 2
        both = closed[key].merge(late, on=key, how="left")
        pd.testing.assert_frame_equal(
            closed.sort_values(key, ignore_index=True).convert_dtypes(),
            both[late.columns].sort_values(key, ignore_index=True).convert_dtypes(),
            rtol=1e-9,
            check_dtype=False,
        )


# How the answers were served.


def weighted_quantile(values: np.ndarray, weights: np.ndarray, fraction: float) -> float:
    """Each value stands for as many places as its weight, relative to the mean one; linear between whole places."""
    order = np.argsort(values, kind="stable")
    values, weights = values[order], weights[order]
    through = np.cumsum(weights * len(weights) / weights.sum()).round(6)
    position = (len(values) - 1) * fraction
    at = [
        values[np.searchsorted(through, np.floor(position) + step, side="right").clip(max=len(values) - 1)]
        for step in (0, 1)
    ]
    share = position - np.floor(position)
    return float(at[0] * (1 - share) + at[1] * share)


def quantile_interval(group: pd.DataFrame, fraction: float) -> tuple[float, float]:
    value = np.quantile(group["latency_ms"], fraction)
    below = (group["latency_ms"] <= value).to_numpy(dtype=float)
    error = clustered_error(below, np.ones(len(group)), group["unit_id"].astype("category").cat.codes.to_numpy())
    half = stats.t.isf(0.025, group["unit_id"].nunique() - 1) * error
    return tuple(np.quantile(group["latency_ms"], [fraction - half, fraction + half]))


def test_trace_quality_is_what_pandas_counts(warehouse: harness.Warehouse) -> None:
    traces = draw_traces(np.random.default_rng(12), units=120, days=3).assign(
        model_version=lambda t: np.where(t["started_at"] < START + pd.Timedelta(days=1), "weighted", "v1")
    )
    plain = traces["model_version"] == "v1"
    traces.loc[plain, "sample_weight"] = 0.1
    traces.loc[traces.index[:7], ["latency_ms", "ended_at"]] = None
    load(warehouse, traces)
    (daily,) = run(warehouse, "trace_quality_daily", outcomes=False, dimensions=["country"])
    assert not daily.duplicated(["trace_date", *KEY]).any()
    rows = daily.set_index(["trace_date", *KEY])
    groups = with_slices(traces, ["country"]).groupby(["date", *KEY])
    assert len(groups) == len(rows)
    seen = 0
    for key, group in groups:
        row = rows.loc[key]
        weights = group["sample_weight"].to_numpy()
        assert (row["traces"], row["units"]) == (len(group), group["unit_id"].nunique())
        assert row["traces_without_latency"] == group["latency_ms"].isna().sum()
        timed = group.dropna(subset=["latency_ms"])
        for name, fraction in {"p50": 0.5, "p95": 0.95, "p99": 0.99}.items():
            if key[1] == "v1":
                expected = np.quantile(timed["latency_ms"], fraction)
            else:
                expected = weighted_quantile(
                    timed["latency_ms"].to_numpy(), timed["sample_weight"].to_numpy(), fraction
                )
            np.testing.assert_allclose(row[f"latency_{name}"], expected, rtol=1e-9)
            t = stats.t.isf(0.025, timed["unit_id"].nunique() - 1)
            enough = timed["unit_id"].nunique() > t**2 * fraction / (1 - fraction)
            assert pd.notna(row[f"latency_{name}_ci_lower"]) == enough
            if enough and key[1] == "v1":
                limits = row[[f"latency_{name}_ci_lower", f"latency_{name}_ci_upper"]].to_numpy(dtype=float)
                np.testing.assert_allclose(limits, quantile_interval(timed, fraction), rtol=1e-7)
                seen += 1
        np.testing.assert_allclose(
            row["ttft_p95"] if key[1] == "v1" else 0,
            np.quantile(group["ttft_ms"], 0.95) if key[1] == "v1" else 0,
            rtol=1e-9,
        )
        np.testing.assert_allclose(row["cost_usd"], (weights * group["cost_usd"]).sum())
        np.testing.assert_allclose(row["output_tokens_mean"], np.average(group["output_tokens"], weights=weights))
        for status in ("error", "timeout", "refusal"):
            share = np.average(group["status"] == status, weights=weights)
            np.testing.assert_allclose(row[f"{status}_rate"], share, atol=1e-12)
            assert row[f"{status}_ci_lower"] <= share <= row[f"{status}_ci_upper"]
    assert seen >= 6
    assert daily.loc[daily["latency_p99_ci_lower"].isna(), "status_reason"].notna().all()


def test_a_log_that_changes_its_unit_of_time_is_suspect_until_it_changes_back(warehouse: harness.Warehouse) -> None:
    generator = np.random.default_rng(13)
    frames = []
    for day, factor in enumerate([1.0, 1.0, 0.001, 0.001, 1.0]):
        count = 30
        frames.append(
            pd.DataFrame(
                {
                    "trace_id": [f"t{day}-{row}" for row in range(count)],
                    "unit_id": [f"u{row % 10}" for row in range(count)],
                    "started_at": START + pd.to_timedelta(day * 24 * 60 + np.arange(count), unit="min"),
                    "latency_ms": np.exp(generator.normal(8, 0.5, count)) * factor,
                    "model_version": "v1",
                }
            )
        )
    load(warehouse, pd.concat(frames, ignore_index=True))
    (daily,) = run(warehouse, "trace_quality_daily", outcomes=False)
    daily = daily.sort_values("trace_date")
    assert daily["status"].tolist() == ["ok", "ok", "suspect", "suspect", "ok"]
    assert daily["status_reason"].eq("latency_unit_changed").tolist() == [False, False, True, True, False]
    assert daily["is_complete"].tolist() == [True] * 4 + [False]
    # A count that nobody logged is no number, and not zero.
    assert daily["cost_usd"].isna().all() and (daily["traces_without_cost_usd"] == daily["traces"]).all()


# What went wrong.


def failing(turns: pd.DataFrame) -> pd.DataFrame:
    """Turns with a column per failure mode (does it have it?) and one per base (is it known?), from plain loops."""
    turns = turns.sort_values(["session_id", "turn_number"]).copy()
    runs, run, session = [], 0, None
    for row in turns.itertuples():
        run = run + 1 if row.repeats_previous and row.session_id == session else int(row.repeats_previous)
        session = row.session_id
        runs.append(run)
    ok = turns["status"] == "ok"
    settled, day = turns["is_outcome_mature"], turns["is_day_mature"]
    text = turns["output_text"]
    always = pd.Series(True, index=turns.index)
    modes = {
        "error": (always, turns["status"] == "error"),
        "timeout": (always, turns["status"] == "timeout"),
        "refusal": (always, turns["status"] == "refusal"),
        "empty_answer": (ok & turns["output_chars"].notna(), turns["output_chars"] == 0),
        "format_truncated": (turns["finish_reason"].notna(), turns["finish_reason"] == "length"),
        "format_unclosed_code": (text.notna(), text.fillna("").str.count("```") % 2 == 1),
        "over_render_limit": (turns["is_over_render_limit"].notna(), turns["is_over_render_limit"].fillna(False)),
        "escalated": (day, turns["is_escalated"].fillna(False)),
        "thumbed_down": (settled, turns["is_thumbed_down"].fillna(False)),
        "retried_three_times": (settled & turns["is_exact_retry"].notna(), np.array(runs) >= 3),
        "abandoned_after_negative": (
            settled & turns["is_abandoned"].notna(),
            turns["abandon_kind"] == "after_negative",
        ),
        "rephrased": (turns["is_rephrased"].notna(), turns["is_rephrased"].fillna(False)),
    }
    for name, (known, event) in modes.items():
        turns[f"{name}_known"] = known.astype(float)
        turns[name] = (known & event).astype(float)
    return turns


def change_of_rate(turns: pd.DataFrame, mode: str, day: pd.Timestamp) -> tuple[float, float, int]:
    """Change against the seven days before, its p-value, and the units that fail on any of the eight days."""
    window = turns[(turns["date"] >= day - pd.Timedelta(days=7)) & (turns["date"] <= day)].copy()
    window["weight"] = window["sample_weight"] * window[f"{mode}_known"]
    now = window["date"] == day
    sides = []
    pooled = np.average(window[mode], weights=window["weight"])
    for side in (now, ~now):
        weight = window["weight"].where(side, 0)
        sides.append(((window[mode] - pooled) * weight / weight.sum()).groupby(window["unit_id"]).sum())
    known = window[window[f"{mode}_known"] == 1]
    units = known["unit_id"].nunique()
    error = (sides[0] - sides[1])[known["unit_id"].unique()]
    turns_now, turns_before = (known["date"] == day).sum(), (known["date"] != day).sum()
    variance = max(units / (units - 1) * (error**2).sum(), pooled * (1 - pooled) * (1 / turns_now + 1 / turns_before))
    change = np.average(window[mode][now], weights=window["weight"][now]) - np.average(
        window[mode][~now], weights=window["weight"][~now]
    )
    freedom = known.loc[known["date"] == day, "unit_id"].nunique() - 1
    failing_units = known.loc[known[mode] == 1, "unit_id"].nunique()
    return change, 2 * stats.t.sf(abs(change) / np.sqrt(variance), freedom), failing_units


def test_failures_and_their_trend_are_what_pandas_finds(warehouse: harness.Warehouse) -> None:
    generator = np.random.default_rng(21)
    traces = draw_traces(generator, units=60, days=10).assign(model_version="v1")
    # On the ninth day a tenth of the answers begin to fail that did not before.
    broken = (traces["started_at"] >= START + pd.Timedelta(days=8)) & (generator.random(len(traces)) < 0.25)
    traces.loc[broken, "status"] = "error"
    load(warehouse, traces, draw_outcomes(generator, traces))
    cases, modes = run(warehouse, "failure_cases", "failure_modes", dimensions=["country"])
    turns = failing(warehouse.mart("turns"))
    names = [name.removesuffix("_known") for name in turns.columns if name.endswith("_known")]
    assert turns["retried_three_times"].sum() > 5

    assert cases["trace_id"].is_unique
    failed = turns[turns[names].sum(axis=1) > 0]
    assert set(cases["trace_id"]) == set(failed["trace_id"])
    listed = cases.set_index("trace_id")
    for row in failed[["trace_id", *names]].itertuples(index=False):
        own = [name for name in names if getattr(row, name)]
        assert listed.loc[row.trace_id, "failure_modes"] == ", ".join(own)
        assert listed.loc[row.trace_id, "primary_mode"] == own[0]
        assert listed.loc[row.trace_id, "failure_mode_count"] == len(own)

    assert not modes.duplicated(["failure_date", *KEY, "failure_mode"]).any()
    rows = modes.set_index(["failure_mode", "failure_date", *KEY])
    sliced = with_slices(turns, ["country"])
    tested = 0
    for key, group in sliced.groupby(["date", *KEY]):
        of_slice = sliced[(sliced[KEY] == list(key[1:])).all(axis=1)]
        for name in names:
            row = rows.loc[(name, *key)]
            assert row["turns"] == group[f"{name}_known"].sum() and row["failures"] == group[name].sum()
            if row["trend"] == "unknown":
                assert row["trend_reason"] is not None
                continue
            change, p_value, failing_units = change_of_rate(of_slice, name, key[0])
            assert failing_units >= 10
            np.testing.assert_allclose([row["rate_change"], row["p_value"]], [change, p_value], rtol=1e-7, atol=1e-12)
            tested += 1
    assert tested > 150
    for _, family in modes[modes["p_value"].notna()].groupby(["failure_date", "model_version", "dimension_name"]):
        expected = stats.false_discovery_control(family["p_value"])
        np.testing.assert_allclose(family["p_value_adjusted"], expected, rtol=1e-9)
    everyone = modes[(modes["dimension_name"] == "all") & (modes["failure_mode"] == "error")].set_index("failure_date")
    trends = everyone["trend"].sort_index().tolist()
    assert trends[8] == "rising" and "rising" not in trends[:8]


# Simulations.


def test_the_last_hour_does_not_bias_abandonment(warehouse: harness.Warehouse) -> None:
    """An answer counts as abandoned after half an hour. At the end of the log nobody has had that half hour yet, and it
    is there that the treatment has most of its traffic. Both arms are the same: 55 percent are left."""
    count = 30_000
    hours = (np.arange(count) + 0.5) / count * 24
    is_treated = np.random.default_rng(41).random(count) < np.where(hours < 23, 0.05, 0.5)
    # Evenly spread numbers in place of random ones: every stretch of an arm has very nearly the same share.
    place_in_arm = np.where(is_treated, np.cumsum(is_treated), np.cumsum(~is_treated))
    is_left = place_in_arm * np.sqrt(2) % 1 < 0.55
    delay = place_in_arm * np.sqrt(3) % 1 * 1790
    started_at = START + pd.to_timedelta(hours, unit="h")
    traces = pd.DataFrame(
        {
            "trace_id": [f"t{row}" for row in range(count)],
            "unit_id": [f"u{row}" for row in range(count)],
            "started_at": started_at,
            "latency_ms": 1000.0,
            "model_version": np.where(is_treated, "treatment", "control"),
        }
    )
    copies = traces.assign(occurred_at=started_at + pd.to_timedelta(1 + delay, unit="s"))[~is_left]
    copies = copies[copies["occurred_at"] < START + pd.Timedelta(days=1)]
    naive = 1 - traces["trace_id"].isin(copies["trace_id"]).groupby(traces["model_version"]).mean()
    assert naive["treatment"] - 0.55 > 0.02
    outcomes = copies[["trace_id", "unit_id", "occurred_at"]].assign(
        event_name="copy", outcome_id="o-" + copies["trace_id"]
    )
    load(warehouse, traces, outcomes)
    (daily,) = run(warehouse, "implicit_signals_daily")
    rows = daily[daily["signal_name"] == "abandonment"].set_index("model_version")
    assert (rows["turns_immature"] > 0).all()
    assert (rows["rate"] - 0.55).abs().max() < 0.002
    assert ((rows["ci_lower"] < 0.55) & (rows["ci_upper"] > 0.55)).all()


def test_intervals_cover_and_units_not_turns_carry_the_error(
    warehouse_factory: Callable[..., harness.Warehouse],
) -> None:
    """Each day is a world of its own: 60 units with moods of their own, half of them on each of two equal versions."""
    generator = np.random.default_rng(31)
    days, units, truth = 400, 60, {"error": 0.2, "over_render_limit": 0.05}
    turns = generator.integers(5, 11, days * units)
    unit = np.repeat(np.arange(days * units), turns)
    chance = {name: generator.beta(rate * 3, (1 - rate) * 3, days * units) for name, rate in truth.items()}
    hit = {name: generator.random(len(unit)) < chance[name][unit] for name in truth}
    traces = pd.DataFrame(
        {
            "trace_id": [f"t{row}" for row in range(len(unit))],
            "unit_id": unit.astype(str),
            "session_id": unit.astype(str),
            "started_at": START + pd.to_timedelta(unit // units, unit="D"),
            "latency_ms": 1000.0,
            "status": np.where(hit["error"], "error", "ok"),
            "output_chars": np.where(hit["over_render_limit"], 200.0, 50.0),
            "render_limit_chars": 100.0,
            "model_version": np.where(unit % 2 == 0, "v1", "v2"),
        }
    )
    warehouse = warehouse_factory("duckdb")
    load(warehouse, traces)
    warehouse.dbt("run", vars=settings(outcomes=False), select=["+int_turn_rates"])
    rates = warehouse.mart("int_turn_rates")
    rates = rates[rates["rate_name"].isin(list(truth))].set_index(["rate_name", "turn_date", "model_version"])
    truths = rates.index.get_level_values(0).map(truth)
    assert len(rates) == days * 4
    covered = (rates["ci_lower"] <= truths) & (truths <= rates["ci_upper"])
    # 800 intervals each: two standard errors are 1.5 points.
    assert covered.groupby("rate_name").mean().between(0.93, 0.975).all()
    arms = rates.unstack("model_version")
    for name in truth:
        arm = arms.loc[name]
        difference = arm["rate", "v1"] - arm["rate", "v2"]
        clustered = difference / np.hypot(arm["standard_error", "v1"], arm["standard_error", "v2"])
        errors = [np.sqrt(arm["rate", v] * (1 - arm["rate", v]) / arm["turns_known", v]) for v in ("v1", "v2")]
        assert 0.025 < (clustered.abs() > stats.t.isf(0.025, 58)).mean() < 0.08, name
        assert ((difference / np.hypot(*errors)).abs() > stats.norm.isf(0.025)).mean() > 0.15, name
