"""drift_summary and drift_bins against scipy, the published cases and a retelling of the rules in pandas."""

from __future__ import annotations

import json
from typing import Any

import harness
import numpy as np
import pandas as pd
import pytest
from scipy import stats

FIXTURE = harness.ROOT / "tests" / "python" / "fixtures" / "drift_cases.json"
START = pd.Timestamp("2024-03-04")  # a Monday
TYPES = {"seen_at": "timestamp", "user_id": "text", "size": "double precision", "topic": "text", "plan": "text"}
KEY = ["feature_name", "segment_name", "segment_value", "window_start"]


def settings(*monitors: dict[str, Any], as_of: str | None = None, **more: Any) -> dict[str, Any]:
    return {"metrics": [], "drift_monitors": list(monitors), "analysis": {"as_of": as_of}, **more}


def run(warehouse: harness.Warehouse, *monitors: dict[str, Any], as_of: str | None = None) -> pd.DataFrame:
    warehouse.dbt("run", vars=settings(*monitors, as_of=as_of), select=["+drift_summary", "+drift_bins"])
    summary = warehouse.mart("drift_summary")
    for column in ["window_start", "window_end", "change_point_at", "reference_start", "reference_end"]:
        summary[column] = pd.to_datetime(summary[column])
    return summary


def monitor(**changed: Any) -> dict[str, Any]:
    return {
        "name": "rows",
        "relation": "raw.observations",
        "time_column": "seen_at",
        "unit_column": "user_id",
        "features": [{"name": "size", "kind": "numeric"}, {"name": "topic", "kind": "categorical"}],
        "reference": {"kind": "trailing", "days": 7},
        **changed,
    }


def stephens(statistic: float, effective: float) -> float:
    scaled = (np.sqrt(effective) + 0.12 + 0.11 / np.sqrt(effective)) * statistic
    return float(stats.kstwobign.sf(scaled))


def draw(seed: int = 1, days: int = 20, users: int = 60, per_user: int = 3, missing: float = 0.05) -> pd.DataFrame:
    """Rows of users who differ in size and topic, some of them without one or the other."""
    generator = np.random.default_rng(seed)
    level = generator.normal(size=users)
    taste = generator.dirichlet([2, 2, 1], size=users)
    rows = []
    for day in range(days):
        active = generator.choice(users, size=users // 2, replace=False)
        user = np.repeat(active, per_user)
        size = np.round(np.exp(3 + 0.6 * level[user] + 0.6 * generator.normal(size=len(user))), 1)
        topic = (generator.random((len(user), 1)) > taste[user].cumsum(axis=1)).sum(axis=1)
        rows.append(
            pd.DataFrame(
                {
                    "seen_at": START
                    + pd.Timedelta(days=day)
                    + pd.to_timedelta(generator.integers(0, 86400, len(user)), unit="s"),
                    "user_id": [f"u{number}" for number in user],
                    "size": np.where(generator.random(len(user)) < missing, np.nan, size),
                    "topic": np.array(["billing", "bugs", "praise"])[topic],
                    "plan": np.where(user % 3 == 0, "paid", "free"),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


@pytest.fixture(scope="module")
def published(engine, warehouse_factory) -> Any:
    """All published cases as segments of one monitor."""
    cases = json.loads(FIXTURE.read_text())
    rows = []
    for case in cases["numeric"]:
        for day, side in [("2026-01-01", "reference"), ("2026-01-02", "current")]:
            rows += [(f"numeric {case['case']}", day, value, None) for value in case[side]]
    for case in cases["categorical"]:
        for day, side in [("2026-01-01", "ref_counts"), ("2026-01-02", "cur_counts")]:
            for level, count in zip(case["levels"], case[side], strict=True):
                rows += [(f"categorical {case['case']}", day, None, level)] * count
    frame = pd.DataFrame(rows, columns=["case_name", "seen_at", "size", "topic"])
    warehouse = warehouse_factory(engine)
    types = {"case_name": "text", "seen_at": "timestamp", "size": "double precision", "topic": "text"}
    warehouse.load("observations", frame.assign(seen_at=pd.to_datetime(frame["seen_at"])), types=types)
    summary = run(
        warehouse,
        monitor(
            unit_column=None,
            segments=["case_name"],
            reference={"kind": "fixed", "start": "2026-01-01", "end": "2026-01-02"},
        ),
        as_of="2026-01-03",
    )
    bins = warehouse.mart("drift_bins")
    yield cases, summary[summary.segment_name == "case_name"], bins[bins.segment_name == "case_name"]
    warehouse.close()


def test_published_numeric_cases(published) -> None:
    cases, summary, bins = published
    found = summary[summary.feature_name == "size"].set_index("segment_value")
    for case in cases["numeric"]:
        name = f"numeric {case['case']}"
        row = found.loc[name]
        deciles = case["deciles"]
        assert row.ks_statistic == pytest.approx(case["ks"]["statistic"], abs=1e-12), name
        assert row.psi == pytest.approx(deciles["psi"], rel=1e-9, abs=1e-12), name
        assert row.js_distance == pytest.approx(deciles["js_distance_base2"], rel=1e-9, abs=1e-9), name
        scaled = case["wasserstein_over_ref_sd_pop"]
        if scaled is not None:
            assert row.wasserstein == pytest.approx(scaled, rel=1e-9, abs=1e-12), name
        else:
            assert pd.isna(row.wasserstein) or case["wasserstein"] == 0, name
        n, m = len(case["reference"]), len(case["current"])
        assert row.p_value == pytest.approx(stephens(row.ks_statistic, n * m / (n + m)), rel=1e-7, abs=1e-300), name
        of_case = bins[(bins.segment_value == name) & (bins.feature_name == "size")].sort_values("bin_number")
        assert of_case.reference_n.tolist() == deciles["ref_counts"], name
        assert of_case.window_n.tolist() == deciles["cur_counts"], name
        assert of_case.upper_bound.dropna().tolist() == deciles["edges"], name
        assert of_case.psi_part.sum() == pytest.approx(row.psi, abs=1e-12), name


def test_published_categorical_cases(published) -> None:
    cases, summary, _ = published
    found = summary[summary.feature_name == "topic"].set_index("segment_value")
    for case in cases["categorical"]:
        name = f"categorical {case['case']}"
        row = found.loc[name]
        assert row.psi == pytest.approx(case["psi"], rel=1e-9, abs=1e-12), name
        assert row.js_distance == pytest.approx(case["js_distance_base2"], rel=1e-9, abs=1e-9), name
        expected = case.get("chi2_contingency")
        if expected is None:
            assert row.chi2_statistic == 0 and row.p_value == 1, name
        elif expected["min_expected"] >= 5:
            assert row.chi2_statistic == pytest.approx(expected["statistic"], rel=1e-9, abs=1e-12), name
            assert row.p_value == pytest.approx(expected["p"], rel=1e-7), name
    # Categories too rare to count by themselves (7 and 5, 3 and none) are one.
    merged = stats.chi2_contingency([[9990, 10, 0], [9980, 5, 15]], correction=False)
    row = found.loc["categorical rare_levels"]
    assert row.chi2_statistic == pytest.approx(merged.statistic, rel=1e-9)
    assert row.p_value == pytest.approx(merged.pvalue, rel=1e-7)
    assert (row.new_categories, row.lost_categories) == (1, 1)
    assert row.new_category_share == pytest.approx(15 / 10000)


def design_effect(reference: pd.DataFrame, window: pd.DataFrame, values: pd.DataFrame) -> float:
    """Of differences between the means of the columns of `values`, with 256 groups of units as clusters."""
    sides = []
    for side in (reference, window):
        chosen = values.loc[side.index]
        centred = (chosen - chosen.mean()) / len(chosen)
        sides.append(centred.groupby(side["unit_group"]).sum())
    parts = sides[1].sub(sides[0], fill_value=0)
    rows = sum(values.loc[side.index].var(ddof=0).sum() / len(side) for side in (reference, window))
    return max(1.0, float((parts**2).to_numpy().sum() / rows * len(parts) / (len(parts) - 1)))


REFERENCES = {
    "trailing": {"kind": "trailing", "days": 7},
    "same_weekday": {"kind": "same_weekday", "weeks": 2},
    "fixed": {"kind": "fixed", "start": "2024-03-05", "end": "2024-03-12"},
    "weeks": {"kind": "trailing", "days": 7},
}


@pytest.fixture(scope="module")
def monitored(engine, warehouse_factory) -> Any:
    import hashlib

    rows = draw()
    rows.loc[rows.index[rows.seen_at >= START + pd.Timedelta(days=15)][::4], "topic"] = "refunds"
    rows["unit_group"] = [hashlib.md5(unit.encode()).hexdigest()[:2] for unit in rows.user_id]
    # A value that reads like the segment of everyone.
    rows["plan"] = rows["plan"].replace("free", "all")
    warehouse = warehouse_factory(engine)
    warehouse.load("observations", rows[list(TYPES)], types=TYPES)
    monitors = [
        monitor(name=name, reference=reference, segments=["plan"], window_days=7 if name == "weeks" else 1)
        for name, reference in REFERENCES.items()
    ]
    summary = run(warehouse, *monitors)
    yield rows, summary
    warehouse.close()


def days_of(rows: pd.DataFrame, start: pd.Timestamp, days: int) -> pd.DataFrame:
    return rows[(rows.seen_at >= start) & (rows.seen_at < start + pd.Timedelta(days=days))]


def reference_of(rows: pd.DataFrame, kind: str, start: pd.Timestamp) -> pd.DataFrame:
    if kind == "fixed":
        return days_of(rows, pd.Timestamp("2024-03-05"), 7)
    if kind == "same_weekday":
        return pd.concat([days_of(rows, start - pd.Timedelta(days=7 * week), 1) for week in (1, 2)])
    return days_of(rows, start - pd.Timedelta(days=7), 7)


@pytest.mark.parametrize("kind", REFERENCES)
def test_numbers_are_those_of_scipy(monitored, kind) -> None:
    rows, summary = monitored
    found = summary[summary.monitor_name == kind]
    length = 7 if kind == "weeks" else 1
    first = {"trailing": 7, "same_weekday": 14, "fixed": 8, "weeks": 7}[kind]
    starts = [START + pd.Timedelta(days=day) for day in range(first, 20 - length, length)]
    assert sorted(found.window_start.unique()) == starts, "the last day is not over"
    for row in found.itertuples():
        part = rows if row.segment_name == "all" else rows[rows.plan == row.segment_value]
        reference, window = reference_of(part, kind, row.window_start), days_of(part, row.window_start, length)
        assert row.window_end == row.window_start + pd.Timedelta(days=length)
        if row.feature_name == "size":
            reference, window = reference.dropna(subset=["size"]), window.dropna(subset=["size"])
            ks = stats.ks_2samp(reference["size"], window["size"])
            assert row.ks_statistic == pytest.approx(ks.statistic, rel=1e-9)
            distance = stats.wasserstein_distance(reference["size"], window["size"]) / reference["size"].std(ddof=0)
            assert row.wasserstein == pytest.approx(distance, rel=1e-9)
            assert row.design_effect >= 1
        else:
            table = pd.DataFrame({"r": reference.topic.value_counts(), "w": window.topic.value_counts()}).fillna(0)
            dummies = pd.get_dummies(part.topic).astype(float)
            effect = design_effect(reference, window, dummies)
            assert row.design_effect == pytest.approx(effect, rel=1e-9)
            assert row.new_categories == (table.r == 0).sum() and row.lost_categories == (table.w == 0).sum()
            if (table.to_numpy().sum() * 0 + stats.contingency.expected_freq(table)).min() >= 5:
                chi2 = stats.chi2_contingency(table, correction=False)
                assert row.chi2_statistic == pytest.approx(chi2.statistic, rel=1e-9)
                groups = min(side["unit_group"].nunique() for side in (reference, window)) - 1
                tempered = chi2.dof * groups * np.log1p(chi2.statistic / effect / chi2.dof / groups)
                assert row.p_value == pytest.approx(stats.chi2.sf(tempered, chi2.dof), rel=1e-7)
        assert (row.reference_n, row.window_n) == (len(reference), len(window))


def test_one_category_has_no_design_effect(warehouse) -> None:
    rows = draw(days=12, users=97, missing=0)
    warehouse.load("observations", rows.assign(topic="billing")[list(TYPES)], types=TYPES)
    summary = run(warehouse, monitor(segments=["plan"])).query("feature_name == 'topic'")
    assert len(summary) > 10 and (summary["design_effect"] == 1).all()


def test_adjusted_p_values_are_holms_and_a_quarters(monitored) -> None:
    _, summary = monitored
    from statsmodels.stats.multitest import multipletests

    of_topic = summary[(summary.monitor_name == "trailing") & (summary.window_start == START + pd.Timedelta(days=9))]
    tested = of_topic.dropna(subset=["p_value_adjusted"])
    p_values = [*tested.p_value, *tested.missing_p_value.dropna(), *tested.new_category_p_value.dropna()]
    adjusted = multipletests(p_values, method="holm")[1][: len(tested)] * 91
    np.testing.assert_allclose(tested.p_value_adjusted, np.minimum(adjusted, 1), rtol=1e-9)


def test_a_new_topic_is_found_and_dated(monitored) -> None:
    _, summary = monitored
    everyone = summary[(summary.segment_name == "all") & (summary.feature_name == "topic")]
    for kind, raised in [("trailing", 2), ("fixed", 4)]:  # within days the trailing week is as mixed as the window
        found = everyone[everyone.monitor_name == kind].set_index("window_start").sort_index()
        before, after = found[: START + pd.Timedelta(days=14)], found[START + pd.Timedelta(days=15) :]
        assert set(before.status) == {"ok"} and set(before.drift_kind) == {"none"}
        after = after[:raised]
        assert set(after.status) == {"alert"} and set(after.drift_kind) == {"covariate"}
        assert after.is_sustained.tolist() == [False, True, True, True][:raised]
        assert set(after.change_point_at.dropna()) == {START + pd.Timedelta(days=15)}
        assert after.change_point_at.notna().tolist() == after.is_sustained.tolist()
        assert after.status_reason.iloc[0] == "new_category"
    untouched = summary[summary.feature_name == "size"]
    assert set(untouched.status) <= {"ok", "insufficient"}


def test_later_rows_change_nothing_that_was_said(warehouse) -> None:
    rows = draw(seed=3)
    rows.loc[rows.seen_at >= START + pd.Timedelta(days=12), "size"] *= 2
    found = []
    for until in [14, 20]:
        warehouse.load("observations", days_of(rows, START, until)[list(TYPES)], types=TYPES)
        found.append(run(warehouse, monitor(segments=["plan"])))
    early, late = (frame.set_index(KEY).sort_index() for frame in found)
    assert len(early) and set(early.status) >= {"ok", "alert"}
    pd.testing.assert_frame_equal(early, late.loc[early.index])


@pytest.fixture(scope="module")
def planted(engine, warehouse_factory) -> Any:
    """The summaries of monitors by name, each over rows of its own in which something was planted."""
    warehouse = warehouse_factory(engine)
    fixed = {"kind": "fixed", "start": "2024-03-04", "end": "2024-03-11"}
    size = [{"name": "size", "kind": "numeric"}]
    numbers = [*monitor()["features"], {"name": "order", "kind": "numeric"}]
    right = [{"name": "right", "value": "size"}]
    relations = {"spikes": spikes(), "unlogged": unlogged(), "hidden": hidden(), "bad_day": bad_day()}
    for name, rows in relations.items():
        types = {item: kind for item, kind in {**TYPES, "order": "double precision"}.items() if item in rows}
        warehouse.load(name, rows[list(types)], types=types)
    monitors = [
        monitor(name="spikes", relation="raw.spikes", features=size, reference=fixed),
        monitor(name="unlogged", relation="raw.unlogged"),
        monitor(name="hidden", relation="raw.hidden", features=numbers),
        monitor(name="hidden_fixed", relation="raw.hidden", features=numbers, reference=fixed),
        monitor(name="bad_day", relation="raw.bad_day", features=[], performance=right, reference=fixed),
    ]
    summary = run(warehouse, *monitors)
    warehouse.close()
    return {name: rows.reset_index(drop=True) for name, rows in summary.groupby("monitor_name")}


def spikes() -> pd.DataFrame:
    rows = draw(seed=5, days=24, missing=0)
    day = (rows.seen_at - START).dt.days
    rows.loc[day.isin(SPIKES), "size"] *= 4
    return rows[day != 17]


SPIKES = {9, 13, 15, 18, 19, 20, 21, 22}


def unlogged() -> pd.DataFrame:
    rows = draw(seed=7, missing=0)
    bad = rows.seen_at.dt.normalize() == START + pd.Timedelta(days=12)
    rows.loc[rows.index[bad][::2], "topic"] = None
    return rows


def hidden() -> pd.DataFrame:
    rows = draw(seed=11, users=200, missing=0).drop(columns="plan")
    generator = np.random.default_rng(11)
    late = rows.seen_at >= START + pd.Timedelta(days=12)
    rows["order"] = (generator.random(len(rows)) < np.where(late, 0.4, 0.95)).astype(float)
    bot = rows.index[rows.seen_at.dt.normalize() == START + pd.Timedelta(days=14)][:25]
    rows.loc[bot, ["user_id", "topic"]] = ["bot", "spam"]
    rows.loc[len(rows)] = {**rows.iloc[0], "seen_at": pd.Timestamp("1970-01-02")}
    return rows


def bad_day() -> pd.DataFrame:
    rows = draw(seed=13, users=200, missing=0)
    generator = np.random.default_rng(13)
    day = (rows.seen_at - START).dt.days
    share = np.where(day == 12, 0.99, np.where(day.isin([13, 16, 17]), 0.4, 0.7))
    rows["size"] = (generator.random(len(rows)) < share).astype(float)
    return rows


def test_spikes_gaps_and_steps(planted) -> None:
    """Two of the last three windows make a shift; it began with the first of them; three quiet ones end it."""
    summary = planted["spikes"]
    found = summary.set_index((summary.window_start - START).dt.days).sort_index()
    assert set(found.index[found.status == "alert"]) == SPIKES
    assert found.status[17] == "insufficient" and found.status_reason[17] == "no_rows"
    assert set(found.index[found.is_sustained]) == {15, 19, 20, 21, 22}
    begins = ((found.change_point_at - START).dt.days).dropna().astype(int).to_dict()
    assert begins == {15: 13, 19: 13, 20: 13, 21: 13, 22: 13}


def test_a_day_without_values_is_bad_logging(planted) -> None:
    summary = planted["unlogged"]
    raised = summary[summary.status.isin(["warn", "alert"])]
    assert raised[["feature_name", "window_start", "drift_kind", "status_reason", "is_sustained"]].values.tolist() == [
        ["topic", START + pd.Timedelta(days=12), "logging", "missing_rate", False]
    ]
    row = raised.iloc[0]
    assert row.window_missing_rate == pytest.approx(0.5, abs=0.01) and row.reference_missing_rate == 0
    assert row.quality == "unknown"


def test_what_bins_and_averages_hide(planted) -> None:
    """A number that is mostly one value and falls below it, one user's new word, a row from another time, a keyword."""
    for name, raised in [("hidden", 2), ("hidden_fixed", 7)]:
        found = planted[name][planted[name].window_start >= START + pd.Timedelta(days=7)]
        found = found.set_index(["feature_name", "window_start"]).sort_index()
        after = found.loc["order"][START + pd.Timedelta(days=12) :]
        assert set(after.status[:raised]) == {"alert"}, name
        assert after.change_point_at.dropna().iloc[0] == START + pd.Timedelta(days=12)
        assert set(found.loc["order"][: START + pd.Timedelta(days=11)].status) == {"ok"}
        assert found.loc[("order", START + pd.Timedelta(days=12)), "psi"] < 0.01, "deciles do not see it"
        of_bot = found.loc[("topic", START + pd.Timedelta(days=14))]
        assert of_bot.new_categories == 1 and of_bot.new_category_p_value > 0.01


def test_a_bad_day_after_a_good_one_is_no_run(planted) -> None:
    found = planted["bad_day"].set_index("window_start").sort_index()
    days = (found.index - START).days
    assert dict(zip(days, found.status, strict=True))[12] == "warn"
    assert set(days[found.status == "alert"]) == {13, 16, 17}
    assert set(days[found.is_sustained]) == {17}
    assert found.change_point_at.dropna().tolist() == [START + pd.Timedelta(days=13)]
    assert set(found.quality[found.status == "alert"]) == {"worse"} and set(found.drift_kind[[days == 17][0]]) == {
        "concept"
    }


def test_little_data_says_so(warehouse) -> None:
    """Constant, absent, infinite and few values; few units; nothing at all."""
    rows = draw(seed=9, users=8, days=10)
    rows["plan"] = "free"
    rows["user_id"] = rows["user_id"].where(rows.index % 2 == 0, "u0")
    rows.loc[rows.index[:5], "size"] = np.inf
    warehouse.load("observations", rows[list(TYPES)], types=TYPES)
    features = [
        {"name": "size", "kind": "numeric"},
        {"name": "nothing", "kind": "numeric", "value": "size + null"},
        {"name": "one", "kind": "numeric", "value": 1},
        {"name": "plan", "kind": "categorical"},
        {"name": "length_of_topic", "kind": "text_length", "value": "topic"},
        {"name": "words", "kind": "text", "value": "topic"},
    ]
    by_rows = monitor(name="by_rows", features=features, unit_column=None)
    monitors = dict(list(run(warehouse, monitor(features=features), by_rows).groupby("monitor_name")))
    by_unit, by_row = monitors["rows"], monitors["by_rows"].set_index("feature_name")
    assert set(by_unit.status) == {"insufficient"}
    assert by_unit.set_index("feature_name").status_reason.to_dict() == {
        "size": "too_few_units",
        "nothing": "no_values",
        "one": "too_few_units",
        "plan": "too_few_units",
        "length_of_topic": "too_few_units",
        "words": "too_few_units",
    }
    assert by_row.status.to_dict() == {
        "size": "ok",
        "nothing": "insufficient",
        "one": "ok",
        "plan": "ok",
        "length_of_topic": "ok",
        "words": "insufficient",
    }
    assert set(by_row.status_reason["words"]) == {"needs_scripts_drift"}
    warehouse.load("observations", rows[list(TYPES)].iloc[:0], types=TYPES)
    assert run(warehouse, monitor()).empty


def test_watched_by_default_are_the_turns(warehouse) -> None:
    generator = np.random.default_rng(2)
    rows = 31 * 40
    traces = pd.DataFrame(
        {
            "trace_id": [f"t{number}" for number in range(rows)],
            "unit_id": [f"u{number % 40}" for number in range(rows)],
            "started_at": START + pd.to_timedelta(np.sort(generator.integers(0, 31 * 86400, rows)), unit="s"),
            "input_chars": generator.integers(5, 200, rows).astype(float),
            "language": generator.choice(["en", "fr"], rows),
        }
    )
    types = {"experiment_id": "text", "variation_id": "text", "unit_id": "text", "exposed_at": "timestamp"}
    warehouse.load("exposures", pd.DataFrame(columns=list(types)), types=types)
    warehouse.load("traces", traces, types={"trace_id": "text", "unit_id": "text", "started_at": "timestamp"})
    variables = {"raw_schema": "raw", "inputs": ["exposures", "traces"], "metrics": []}
    warehouse.dbt("run", vars=variables, select=["+drift_summary"])
    summary = warehouse.mart("drift_summary")
    assert set(summary.monitor_name) == {"traces"}
    by_feature = summary.groupby("feature_name").agg(status=("status", "first"), kind=("feature_kind", "first"))
    assert by_feature.status["input_chars"] == by_feature.status["language"] == "ok"
    assert by_feature.status["query_category"] == "insufficient"
    assert by_feature.kind["rephrase_rate"] == "performance"
    variables["drift_monitors"] = []
    warehouse.dbt("run", vars=variables, select=["+drift_summary"])
    assert warehouse.mart("drift_summary").empty


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"relation": "raw.nowhere"}, "drift_monitors.rows.relation is 'raw.nowhere', which does not exist"),
        ({"time_column": "happened_at"}, "drift_monitors.rows.time_column is 'happened_at'; allowed: seen_at"),
        ({"segments": ["country"]}, "drift_monitors.rows.segments has 'country'; allowed: seen_at"),
    ],
)
def test_what_a_relation_lacks_is_named(warehouse_factory, changed, message) -> None:
    warehouse = warehouse_factory("duckdb")
    warehouse.load("observations", draw(days=2)[list(TYPES)], types=TYPES)
    result = warehouse.dbt("run", vars=settings(monitor(**changed)), select=["int_drift_spans"], expect_success=False)
    warehouse.close()
    assert message in result.error
