"""Two real experiments and real conversations, against values published with the data and against other programs.

The data are not part of the project: without ../shared/data (or EVALHOUSE_SHARED_DATA) these tests are skipped.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

DATA = Path(os.environ.get("EVALHOUSE_SHARED_DATA", harness.ROOT.parent / "shared" / "data"))
EXPOSED_AT, SEEN_AT = pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-08")

METRICS = [
    {"name": "retention_1", "type": "proportion", "fact": "outcomes", "where": "event_name = 'retention_1'"},
    {"name": "retention_7", "type": "proportion", "fact": "outcomes", "where": "event_name = 'retention_7'"},
    {"name": "rounds", "type": "mean", "fact": "outcomes", "where": "event_name = 'rounds'", "value": "value"},
    {
        "name": "got_result",
        "type": "mean",
        "fact": "outcomes",
        "where": "event_name = 'got'",
        "value": "value",
        "missing": "exclude",
    },
]


def _read(name: str) -> pd.DataFrame:
    path = DATA / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"{path} is absent: set EVALHOUSE_SHARED_DATA to the directory of the real data")
    return pd.read_parquet(path)


class Real:
    """Both experiments in one warehouse."""

    def __init__(self, warehouse: harness.Warehouse) -> None:
        self.thornton = _read("thornton_hiv")
        self.cats = _read("cookie_cats")
        exposures, outcomes = [], []
        treated = self.thornton[self.thornton["any"].notna()]
        for experiment in ("villages", "people"):
            units = pd.Series([f"{experiment}-{number}" for number in treated.index], treated.index)
            arm = treated["any"].map({0.0: "control", 1.0: "incentive"})
            village = treated["villnum"].map(lambda number: None if pd.isna(number) else f"village {number:.0f}")
            cluster = village if experiment == "villages" else None
            frame = pd.DataFrame({"unit_id": units, "variation_id": arm, "cluster_id": cluster})
            exposures.append(frame.assign(experiment_id=experiment))
            frame = pd.DataFrame({"unit_id": units, "value": treated["got"]}).dropna()
            outcomes.append(frame.assign(event_name="got"))
        top = self.cats["sum_gamerounds"].idxmax()
        for experiment, cats in (("cats", self.cats), ("cats_but_one", self.cats.drop(index=top))):
            units = experiment + "-" + cats["userid"].astype(str)
            frame = pd.DataFrame({"unit_id": units, "variation_id": cats["version"]})
            exposures.append(frame.assign(experiment_id=experiment, cluster_id=None))
            rounds = pd.DataFrame({"unit_id": units, "value": cats["sum_gamerounds"].astype(float)})
            outcomes.append(rounds.assign(event_name="rounds"))
            for name in ("retention_1", "retention_7"):
                frame = pd.DataFrame({"unit_id": units[cats[name]], "value": 1.0})
                outcomes.append(frame.assign(event_name=name))
        exposure = pd.concat(exposures, ignore_index=True).assign(exposed_at=EXPOSED_AT)
        outcome = pd.concat(outcomes, ignore_index=True).assign(occurred_at=SEEN_AT)
        outcome["outcome_id"] = outcome.index.astype(str)
        warehouse.load("exposures", exposure, types={"cluster_id": "text"})
        warehouse.load("outcomes", outcome)
        warehouse.dbt("run", vars={"inputs": ["exposures", "outcomes"], "metrics": METRICS})
        self.mart = warehouse.mart("experiment_results").set_index(["experiment_id", "metric_name"])
        self.health = warehouse.mart("experiment_health").set_index(["experiment_id", "check_name", "scope"])
        self.quality = warehouse.mart("input_quality").set_index(["input_name", "rule"])
        warehouse.close()

    def row(self, experiment: str, metric: str) -> dict[str, Any]:
        return self.mart.loc[(experiment, metric)].to_dict()


@pytest.fixture(scope="module")
def real(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> Real:
    _read("thornton_hiv")
    return Real(warehouse_factory(engine))


@pytest.mark.parametrize(
    ("metric", "shares", "effect", "interval", "pooled_p"),
    [
        ("retention_1", (0.448188, 0.442283), -0.005905, (-0.012392, 0.000582), 0.07441),
        ("retention_7", (0.190201, 0.182000), -0.008201, (-0.013282, -0.003121), 0.001554),
    ],
)
def test_cookie_cats_retention(
    real: Real,
    metric: str,
    shares: tuple[float, float],
    effect: float,
    interval: tuple[float, float],
    pooled_p: float,
) -> None:
    row = real.row("cats", metric)
    assert (row["control_variation_id"], row["units_control"], row["units_treatment"]) == ("gate_30", 44_700, 45_489)
    assert (row["value_control"], row["value_treatment"]) == pytest.approx(shares, abs=6e-7)
    assert row["effect_absolute"] == pytest.approx(effect, abs=6e-7)
    assert (row["ci_lower_absolute"], row["ci_upper_absolute"]) == pytest.approx(interval, abs=1e-6)
    # The published p-value pools the arms' variances, ours doesn't.
    assert row["p_value"] == pytest.approx(pooled_p, rel=1e-2)
    a, b = (real.cats.loc[real.cats["version"] == arm, metric] for arm in ("gate_30", "gate_40"))
    parts = np.array([a.mean() * (1 - a.mean()) / len(a), b.mean() * (1 - b.mean()) / len(b)])
    dof = parts.sum() ** 2 / (parts**2 / (np.array([len(a), len(b)]) - 1)).sum()
    p_value = 2 * stats.t.sf(abs(b.mean() - a.mean()) / np.sqrt(parts.sum()), dof)
    assert row["p_value"] == pytest.approx(p_value, rel=1e-7)
    assert row["se_absolute"] == pytest.approx(np.sqrt(parts.sum()), rel=1e-9)


@pytest.mark.parametrize(
    ("experiment", "means", "p_value"),
    [("cats", (52.4563, 51.2988), 0.376), ("cats_but_one", (51.3421, 51.2988), 0.9495)],
)
def test_cookie_cats_rounds(real: Real, experiment: str, means: tuple[float, float], p_value: float) -> None:
    row = real.row(experiment, "rounds")
    assert (row["value_control"], row["value_treatment"]) == pytest.approx(means, abs=6e-5)
    assert row["p_value"] == pytest.approx(p_value, abs=6e-4)
    frame = real.cats
    if experiment == "cats_but_one":
        frame = frame.drop(index=frame["sum_gamerounds"].idxmax())
    arms = [frame.loc[frame["version"] == arm, "sum_gamerounds"] for arm in ("gate_40", "gate_30")]
    assert row["p_value"] == pytest.approx(stats.ttest_ind(*arms, equal_var=False).pvalue, rel=1e-7)


def test_cookie_cats_sample_ratio(real: Real) -> None:
    """Not a failure at 0.001, but near enough to be told."""
    check = real.health.loc[("cats", "srm", "all")]
    assert check["p_value"] == pytest.approx(0.00861, abs=6e-6)
    assert check["status"] == "warn"


def test_thornton_by_person(real: Real) -> None:
    """Missing outcomes are left out, not zero; the variance is that of a regression with HC2 errors."""
    row = real.row("people", "got_result")
    assert row["units_control"] + row["units_treatment"] == 2_834
    assert (row["value_control"], row["value_treatment"]) == pytest.approx((0.338684, 0.789236), abs=6e-7)
    assert row["effect_absolute"] == pytest.approx(0.450552, abs=6e-7)
    seen = real.thornton.dropna(subset=["got", "any"])
    model = sm.OLS(seen["got"], sm.add_constant(seen["any"]))
    assert row["effect_absolute"] == pytest.approx(model.fit().params["any"], rel=1e-9)
    assert row["se_absolute"] == pytest.approx(model.fit(cov_type="HC2").bse["any"], rel=1e-9)
    # The published one is HC1; the classic error, for equal variances, is another.
    assert row["se_absolute"] == pytest.approx(0.020858, abs=1e-5)
    assert model.fit().bse["any"] == pytest.approx(0.019198, abs=6e-7)


def test_thornton_by_village(real: Real) -> None:
    """Villages hold both arms: one sandwich over both, as a regression with clustered errors."""
    row = real.row("villages", "got_result")
    assert row["units_control"] + row["units_treatment"] == 2_830
    assert row["adjustment"] == "clustered"
    assert row["effect_absolute"] == pytest.approx(0.451982, abs=6e-7)
    assert row["se_absolute"] == pytest.approx(0.022686, abs=6e-7)
    seen = real.thornton.dropna(subset=["got", "any", "villnum"])
    fitted = sm.OLS(seen["got"], sm.add_constant(seen["any"])).fit(
        cov_type="cluster", cov_kwds={"groups": seen["villnum"].astype(int), "df_correction": True}, use_t=True
    )
    assert row["effect_absolute"] == pytest.approx(fitted.params["any"], rel=1e-9)
    assert row["se_absolute"] == pytest.approx(fitted.bse["any"], rel=1e-9)
    assert row["p_value"] == pytest.approx(fitted.pvalues["any"], rel=1e-7)
    assert (row["ci_lower_absolute"], row["ci_upper_absolute"]) == pytest.approx(fitted.conf_int().loc["any"], rel=1e-7)
    unlocated = real.thornton["any"].notna() & real.thornton["villnum"].isna()
    assert real.quality.loc[("exposures", "missing_cluster"), "rows_dropped"] == unlocated.sum()


@pytest.fixture(scope="module")
def conversations(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> harness.Warehouse:
    """Chats with a model that was probed by annotators: clocks of whole seconds, the last answer of each withheld."""
    raw = _read("traces_mtragun").rename(
        columns={
            "user_id": "unit_id",
            "responded_at": "ended_at",
            "query_text": "input_text",
            "response_text": "output_text",
        }
    )
    columns = ["trace_id", "unit_id", "session_id", "turn_index", "started_at", "ended_at", "latency_ms"]
    warehouse = warehouse_factory(engine)
    warehouse.load("traces", raw[[*columns, "input_text", "output_text", "model_version"]])
    exposure = {"experiment_id": "e", "variation_id": "control", "unit_id": raw["unit_id"].iloc[0]}
    warehouse.load("exposures", pd.DataFrame([{**exposure, "exposed_at": EXPOSED_AT}]))
    warehouse.dbt(
        "run",
        vars={"inputs": ["exposures", "traces"], "metrics": []},
        select=["+turns", "+sessions", "+input_quality", "+trace_quality_daily", "+implicit_signals_daily"],
    )
    return warehouse


def test_conversations_to_turns(conversations: harness.Warehouse) -> None:
    turns, sessions = conversations.mart("turns"), conversations.mart("sessions")
    assert (len(turns), len(sessions), turns["is_last_turn"].sum()) == (2_191, 507, 507)
    gaps = turns["next_gap_seconds"].dropna()
    assert (len(gaps), (gaps > 1800).sum()) == (1_684, 418)
    # Withheld is not abandoned.
    withheld = turns[~turns["is_answered"].astype(bool)]
    assert len(withheld) == 507 and withheld["is_abandoned"].isna().all()
    assert turns.loc[turns["is_answered"].astype(bool) & turns["is_mature"].astype(bool), "is_abandoned"].notna().all()


def test_conversations_clocks_and_latency(conversations: harness.Warehouse) -> None:
    latency = conversations.mart("turns")["latency_ms"].dropna()
    assert (len(latency), round(latency.mean())) == (1_682, 6_382)
    assert list(latency.quantile([0.5, 0.9, 0.95, 0.99])) == [5_000, 13_000, 18_000, 27_000]
    quality = conversations.mart("input_quality").set_index(["input_name", "rule"])["rows_repaired"]["traces"]
    faults = {"end_before_start": 1, "implausible_end": 1, "implausible_latency": 2, "unanswered": 507}
    assert quality[quality > 0].to_dict() == faults


LOAN_NUMBERS = ["car_value", "debt_to_income_ratio", "loan_length", "driver_tenure", "y_pred_proba"]
LOAN_CATEGORIES = ["salary_range", "repaid_loan_on_prev_car", "size_of_downpayment"]
LOAN_SHIFTED = {"car_value", "loan_length", "salary_range", "repaid_loan_on_prev_car", "y_pred_proba"}
LOANS_SINCE = pd.Timestamp("2024-02-01")


@pytest.fixture(scope="module")
def loans(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> pd.DataFrame:
    """drift_summary of NannyML's car loans: a day of reference, then its chunks of 5,000 rows, a day each."""
    rows = _read("nannyml_car_loan").sort_values("id")
    analysis = rows["partition"] != "reference"
    chunk = (analysis.cumsum() - 1) // 5000
    chunks = LOANS_SINCE + pd.to_timedelta(chunk.clip(lower=0), unit="D")
    rows["seen_at"] = chunks.where(analysis, LOANS_SINCE - pd.Timedelta(days=1)) + pd.Timedelta(hours=12)
    rows["repaid_loan_on_prev_car"] = rows["repaid_loan_on_prev_car"].astype(str)
    warehouse = warehouse_factory(engine)
    warehouse.load("loans", rows[["seen_at", *LOAN_NUMBERS, *LOAN_CATEGORIES]])
    monitor = {
        "name": "loans",
        "relation": "raw.loans",
        "time_column": "seen_at",
        "features": [
            *({"name": name, "kind": "numeric"} for name in LOAN_NUMBERS),
            *({"name": name, "kind": "categorical"} for name in LOAN_CATEGORIES),
        ],
        "reference": {"kind": "fixed", "start": "2024-01-31", "end": "2024-02-01"},
    }
    analysis = {"as_of": str((LOANS_SINCE + pd.Timedelta(days=10)).date())}
    variables = {"metrics": [], "drift_monitors": [monitor], "analysis": analysis}
    warehouse.dbt("run", vars=variables, select=["+drift_summary"])
    summary = warehouse.mart("drift_summary")
    warehouse.close()
    return summary.assign(chunk=(pd.to_datetime(summary["window_start"]) - LOANS_SINCE).dt.days)


def test_loans_have_the_published_distances(loans: pd.DataFrame) -> None:
    found = loans.set_index(["feature_name", "chunk"])
    for feature, measure, published in [
        ("car_value", "ks_statistic", {0: 0.0131, 5: 0.43548, 9: 0.4385}),
        ("loan_length", "ks_statistic", {0: 0.00884, 5: 0.17992, 9: 0.19872}),
        ("debt_to_income_ratio", "ks_statistic", {0: 0.01576, 5: 0.00824, 9: 0.0070}),
        ("salary_range", "js_distance", {0: 0.006397, 5: 0.183143}),
        ("repaid_loan_on_prev_car", "js_distance", {0: 0.008308, 5: 0.231198}),
        ("salary_range", "chi2_statistic", {0: 1.0337, 5: 455.6221}),
    ]:
        for chunk, value in published.items():
            digits = len(str(value).split(".")[1])
            assert found.loc[(feature, chunk), measure] == pytest.approx(value, abs=0.51 * 10**-digits), (
                feature,
                chunk,
            )


def test_loans_agree_with_the_other_program(loans: pd.DataFrame) -> None:
    """Where it does not bin by itself: Jensen-Shannon and chi-square of more than two categories, every chunk."""
    oracle = _read("nannyml_car_loan_oracle")
    oracle = oracle[oracle["period"] == "analysis"]
    found = loans.set_index(["feature_name", "chunk"])
    compared = 0
    for method, measure in [("jensen_shannon", "js_distance"), ("chi2", "chi2_statistic")]:
        for feature in ["salary_range", "size_of_downpayment"]:
            rows = oracle[(oracle["column"] == feature) & (oracle["method"] == method)]
            for row in rows.itertuples():
                assert found.loc[(feature, row.chunk), measure] == pytest.approx(row.value, rel=1e-9)
                compared += 1
    assert compared == 40


def test_loans_shift_in_the_right_chunk_and_nothing_else_does(loans: pd.DataFrame) -> None:
    raised = loans[loans["status"].isin(["warn", "alert"])]
    assert set(raised["feature_name"]) == LOAN_SHIFTED
    assert (raised.groupby("feature_name")["chunk"].agg(list).map(sorted) == [list(range(5, 10))] * 5).all()
    assert set(pd.to_datetime(raised["change_point_at"].dropna())) == {LOANS_SINCE + pd.Timedelta(days=5)}
    assert set(raised.loc[raised["chunk"] > 5, "is_sustained"]) == {True}
