"""Inputs as loaders and people really leave them: each of these once stopped a run or gave a silent wrong number."""

import pandas as pd
import pytest
from harness import Warehouse

START = pd.Timestamp("2026-03-01")
METRICS = [
    {
        "name": "order",
        "fact": "outcomes",
        "type": "quantile",
        "value": "value",
        "quantile": 0.5,
        "quantile_of": "events",
    },
    {
        "name": "unit_id",
        "fact": "outcomes",
        "type": "funnel",
        "steps": [{"where": "event_name = 'a'"}, {"where": "event_name = 'b'"}],
    },
    {"name": "noted", "fact": "outcomes", "type": "proportion", "where": "event_name = 'a' -- the first step"},
    {"name": "spent", "fact": "billing", "type": "mean", "value": "amount"},
    {
        "name": "paid_per_bill",
        "fact": "outcomes",
        "type": "ratio",
        "where": "event_name = 'a'",
        "denominator": {"fact": "empty"},
    },
]
FACTS = [
    {"name": "billing", "relation": "raw.bills", "unit_column": "user", "time_column": "At"},
    {"name": "empty", "relation": "raw.nothing", "unit_column": "unit", "time_column": "at"},
]
SETTINGS = {
    "inputs": ["exposures", "experiments", "experiment_variations", "outcomes"],
    "dimensions": ["Country"],
    "metrics": METRICS,
    "facts": FACTS,
    "analysis": {"bayesian": True},
}


def load(warehouse: Warehouse) -> None:
    units = [f"u{number}" for number in range(400)]
    warehouse.load(
        "exposures",
        pd.DataFrame(
            {
                "experiment_id": "e",
                "variation_id": ["control" if number % 2 else "treated" for number in range(400)],
                "unit_id": units,
                "exposed_at": START,
                "Country": ["all" if number % 3 else "x;'é" for number in range(400)],
            }
        ),
    )
    warehouse.load(
        "experiments",
        pd.DataFrame(
            {"experiment_id": ["e", "unseen"], "started_at": ["2026-03-01", "soon"], "stage": ["AB", "Holdout"]}
        ),
    )
    warehouse.load(
        "experiment_variations",
        pd.DataFrame({"experiment_id": "e", "variation_id": ["control", "treated"], "is_control": [1, 0]}),
    )
    rows = []
    for number, unit in enumerate(units):
        for step, name in enumerate(["a", "b"]):
            moment = (START + pd.Timedelta(hours=1 + step)).isoformat(sep=" ")
            rows.append((f"{unit}{name}", unit, name, moment, str(number % 7)))
    rows[0] = (*rows[0][:4], "n/a")
    rows[1] = (*rows[1][:4], "9e99")
    rows[2] = (*rows[2][:3], "infinity", "1")
    rows[3] = (*rows[3][:3], "soon", "1")
    warehouse.load(
        "outcomes", pd.DataFrame(rows, columns=["outcome_id", "unit_id", "event_name", "occurred_at", "value"])
    )
    warehouse.load(
        "bills",
        pd.DataFrame(
            {
                "user": [*units, None],
                "At": START + pd.Timedelta(hours=3),
                "amount": [float(number % 5) for number in range(401)],
            }
        ),
    )
    warehouse.load(
        "nothing",
        pd.DataFrame({"unit": pd.Series(dtype="object"), "at": pd.Series(dtype="datetime64[ns]")}),
        types={"unit": "text"},
    )


@pytest.mark.parametrize("empty", [False, True], ids=["rows", "dbt run --empty"])
def test_odd_inputs(warehouse: Warehouse, empty: bool) -> None:
    load(warehouse)
    if empty:
        warehouse.dbt("run --empty", vars=SETTINGS)
        assert len(warehouse.mart("experiment_results")) == 0
        return
    warehouse.dbt("build", vars=SETTINGS)
    results = warehouse.mart("experiment_results").query("dimension_name == 'all'").set_index("metric_name")
    assert results.loc["spent", ["units_control", "units_treatment"]].tolist() == [200, 200]
    assert results.loc["spent", "value_control"] == pytest.approx(2.0)
    assert results.loc["noted", "value_control"] == pytest.approx(1.0 - 1 / 200)
    assert results.loc["order", "value_control"] == pytest.approx(3.0)
    assert results.loc["unit_id", "value_control"] == pytest.approx(1.0 - 1 / 200)
    assert results.loc["paid_per_bill", ["status", "status_reason"]].tolist() == ["missing", "source_has_no_rows"]
    assert results.query("status == 'ok'")["probability_better"].between(0, 1).all()

    quality = warehouse.mart("input_quality").set_index(["input_name", "rule"])
    assert quality.loc[("outcomes", "missing_key"), "rows_dropped"] == 2
    assert quality.loc[("outcomes", "unusable_value"), "rows_repaired"] == 2
    assert quality.loc[("billing", "missing_key"), "rows_dropped"] == 1
    assert quality.loc[("experiments", "unreadable_date"), "rows_repaired"] == 1

    experiments = warehouse.mart("dim_experiments").set_index("experiment_id")
    assert experiments.loc["unseen", "stage"] == "holdout"
    assert experiments.loc["e", "control_variation_id"] == "control"
    assert set(warehouse.mart("experiment_results").query("dimension_name == 'Country'")["dimension_value"]) == {
        "all",
        "x;'é",
    }
