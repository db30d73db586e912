"""experiment_subgroups: effects of slices, whether they differ, and the row that says whom an average hides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import harness
import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

EXPOSED = pd.Timestamp("2024-03-01")
FACT = {"name": "facts", "relation": "raw.facts", "unit_column": "unit_id", "time_column": "occurred_at"}
KEY = ["experiment_id", "metric_name", "variation_id", "dimension_name", "dimension_value"]
VALUE = {"name": "value", "fact": "facts", "type": "mean", "value": "value", "role": "goal"}


def settings(metrics: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"raw_schema": "raw", "inputs": ["exposures"], "facts": [FACT], "metrics": metrics, **more}


def load(warehouse: harness.Warehouse, units: pd.DataFrame, columns: list[str]) -> None:
    names = ["experiment_id", "variation_id", "unit_id", "cluster_id", "language", "country", "device"]
    warehouse.load("exposures", units[[name for name in names if name in units]].assign(exposed_at=EXPOSED))
    warehouse.load("facts", units[["unit_id", *columns]].assign(occurred_at=EXPOSED + pd.Timedelta("1D")))


def subgroups(warehouse: harness.Warehouse) -> pd.DataFrame:
    mart = warehouse.mart("experiment_subgroups")
    assert not mart.duplicated(KEY).any()
    assert (mart["finding"].eq("not_computed") == mart["status"].ne("ok")).all()
    tested = ["interaction_statistic", "interaction_p_value", "interaction_p_value_adjusted"]
    assert (mart[tested].isna().any(axis=1) == mart["interaction_reason"].notna()).all()
    missing = mart["effect_shrunk"].isna()
    assert (mart.loc[missing, "interaction_reason"].notna() | mart.loc[missing, "status_reason"].notna()).all()
    return mart


def tilted(generator: np.random.Generator, arms: int, slices: int) -> pd.DataFrame:
    """Slices of unequal size, spread and effect."""
    frames = []
    for number in range(slices):
        for arm in range(arms):
            n = int(generator.integers(6, 40)) * (1 + number)
            values = generator.normal(1 + 0.25 * arm * (number % 3 - 0.5), 0.5 + 0.3 * number, n)
            frames.append(pd.DataFrame({"variation_id": f"v{arm}", "country": f"c{number}", "value": values}))
    return pd.concat(frames, ignore_index=True)


def interaction(groups: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """Q, James's p-value and the shrunk effects of arms by slice."""
    effects, variances, degrees = [], [], []
    for control, treatment in groups:
        parts = [arm.var(ddof=1) / len(arm) for arm in (control, treatment)]
        effects.append(treatment.mean() - control.mean())
        variances.append(sum(parts))
        degrees.append(
            sum(parts) ** 2 / sum(v**2 / (len(a) - 1) for v, a in zip(parts, (control, treatment), strict=True))
        )
    return interaction_of(np.array(effects), np.array(variances), np.array(degrees))


def interaction_of(effects: np.ndarray, variances: np.ndarray, degrees: np.ndarray) -> dict[str, Any]:
    weights = 1 / variances
    average = np.average(effects, weights=weights)
    q = (weights * (effects - average) ** 2).sum()
    s = len(effects)
    between = max(0, (q - (s - 1)) / (weights.sum() - (weights**2).sum() / weights.sum()))

    def critical(p: float) -> float:
        x = stats.chi2.isf(p, s - 1)
        doubt = ((1 - weights / weights.sum()) ** 2 / degrees).sum()
        return x * (1 + (3 * x + s + 1) / (2 * (s**2 - 1)) * doubt)

    p_value = np.exp(optimize.brentq(lambda log_p: critical(np.exp(log_p)) - q, -600, -1e-12, xtol=1e-14))
    share = between / (between + variances)
    return {"q": q, "p_value": p_value, "shrunk": share * effects + (1 - share) * average, "between": between}


def test_interaction_and_shrinkage_against_scipy(warehouse: harness.Warehouse) -> None:
    generator = np.random.default_rng(3)
    units = pd.concat(
        [tilted(generator, 3, slices).assign(experiment_id=f"e{slices}") for slices in (2, 3, 8)], ignore_index=True
    )
    # A slice of one unit an arm has no variance; one of a single arm no effect; one value of a dimension no contrast.
    few = pd.DataFrame({"variation_id": ["v0", "v1", "v2"], "country": "few", "value": 1.0, "experiment_id": "e8"})
    lone = pd.DataFrame({"variation_id": ["v0"] * 9, "country": "lone", "value": np.arange(9.0), "experiment_id": "e8"})
    units = pd.concat([units, few, lone], ignore_index=True).assign(device="web")
    units["unit_id"] = np.arange(len(units))
    load(warehouse, units, ["value"])
    variables = settings([VALUE], dimensions=["country", "device"])
    warehouse.dbt("run", vars=variables, select="+experiment_subgroups")
    mart = subgroups(warehouse)
    mart = mart.set_index(["experiment_id", "variation_id", "dimension_name", "dimension_value"]).sort_index()
    p_values = {}
    for experiment, slices in (("e2", 2), ("e3", 3), ("e8", 8)):
        of_experiment = units[units["experiment_id"] == experiment]
        for variation in ("v1", "v2"):
            arms = of_experiment.groupby(["country", "variation_id"])["value"]
            names = [f"c{number}" for number in range(slices)]
            groups = [
                (arms.get_group((name, "v0")).to_numpy(), arms.get_group((name, variation)).to_numpy())
                for name in names
            ]
            expected = interaction(groups)
            rows = mart.loc[(experiment, variation, "country")]
            assert rows["interaction_statistic"].to_numpy() == pytest.approx(expected["q"], rel=1e-9)
            assert rows["interaction_p_value"].to_numpy() == pytest.approx(expected["p_value"], rel=1e-7)
            assert set(rows["interaction_degrees_of_freedom"]) == {slices - 1}
            assert set(rows["slices_tested"]) == {slices}
            assert set(rows["slices_left_out"]) == {2 if experiment == "e8" else 0}
            assert rows.loc[names, "effect_shrunk"].to_numpy() == pytest.approx(expected["shrunk"], rel=1e-8)
            p_values[experiment, variation] = expected["p_value"]
    assert min(p_values.values()) < 1e-3 < 0.05 < max(p_values.values())
    for experiment in ("e2", "e3", "e8"):
        family = [p_values[experiment, variation] for variation in ("v1", "v2")]
        for variation, adjusted in zip(("v1", "v2"), stats.false_discovery_control(family), strict=True):
            rows = mart.loc[(experiment, variation, "country")]
            assert rows["interaction_p_value_adjusted"].to_numpy() == pytest.approx(adjusted, rel=1e-7)
    assert mart.loc[("e8", "v1", "country", "few"), "status_reason"] == "fewer_than_two_units"
    assert mart.loc[("e8", "v1", "country", "lone"), "status_reason"] == "no_units_in_treatment"
    row = mart.loc[("e8", "v1", "device", "web")]
    assert (row["status"], row["interaction_reason"]) == ("ok", "fewer_than_two_slices")
    assert row["effect_absolute"] == row["overall_effect_absolute"]


def test_protected_dimensions_are_a_family_of_their_own(warehouse: harness.Warehouse) -> None:
    """Holm over protected dimensions x metrics x variations, Benjamini-Hochberg over exploratory ones."""
    generator = np.random.default_rng(8)
    n = 4_000
    units = pd.DataFrame(
        {
            "experiment_id": "e",
            "unit_id": np.arange(n),
            "variation_id": generator.choice(["control", "treatment"], n),
            "language": generator.choice(["en", "de", "ja"], n),
            "country": generator.choice(["US", "DE"], n),
            "device": generator.choice(["web", "ios", "tv"], n),
        }
    )
    treated = units["variation_id"] == "treatment"
    units["value"] = generator.normal(size=n) + treated * (units["language"].eq("ja") * 0.25 + 0.1)
    units["harm"] = generator.normal(size=n) + treated * units["country"].eq("US") * 0.15
    units["other"] = generator.normal(size=n)
    metrics = [
        VALUE,
        {**VALUE, "name": "harm", "value": "harm", "role": "guardrail", "direction": "decrease"},
        {**VALUE, "name": "other", "value": "other", "role": "secondary"},
    ]
    load(warehouse, units, ["value", "harm", "other"])
    variables = settings(metrics, dimensions=["device"], protected_dimensions=["language", "country"])
    warehouse.dbt("run", vars=variables, select="+experiment_subgroups")
    mart = subgroups(warehouse)
    assert set(mart["metric_name"]) == {"value", "harm"}
    tests = mart.drop_duplicates(["metric_name", "dimension_name"])
    for protected, names in ((True, ["language", "country"]), (False, ["device"])):
        family = tests[tests["dimension_name"].isin(names)].sort_values("interaction_p_value")
        assert set(family["is_protected"]) == {protected}
        p = family["interaction_p_value"].to_numpy()
        if protected:
            expected = np.minimum(1, np.maximum.accumulate(p * np.arange(len(p), 0, -1)))
        else:
            expected = stats.false_discovery_control(p)
        assert len(p) == 2 * len(names)
        assert family["interaction_p_value_adjusted"].to_numpy() == pytest.approx(expected, rel=1e-9)
    results = warehouse.mart("experiment_results").set_index(KEY)
    for row in mart.itertuples():
        slice_row = results.loc[tuple(getattr(row, name) for name in KEY)]
        overall = results.loc[(row.experiment_id, row.metric_name, row.variation_id, "all", "all")]
        assert (row.effect_absolute, row.p_value_adjusted) == tuple(slice_row[["effect_absolute", "p_value_adjusted"]])
        assert (row.verdict, row.overall_verdict) == (slice_row["verdict"], overall["verdict"])
        assert row.overall_effect_absolute == overall["effect_absolute"]
    # Every word for a slice is seen here, and means what it says.
    found = set(mart["finding"])
    assert {"gains", "harmed", "none"} <= found
    for row in mart.itertuples():
        differs = row.interaction_p_value_adjusted < 0.05
        expected = {"worse": "harmed", "better": "gains"}.get(row.verdict, "differs" if differs else "none")
        if row.verdict == "worse" and row.overall_verdict == "better":
            expected = "harmed_while_average_gains"
        assert row.finding == expected


def test_few_events_still_have_a_variance(warehouse: harness.Warehouse) -> None:
    """No event in a slice's arms: an exact test there, and the variance of one event and one non-event more."""
    counts = {"a": (0, 0), "b": (0, 12), "c": (40, 90), "d": (3, 5)}
    n = 400
    frames = []
    for country, events in counts.items():
        for arm, number in zip(("control", "treatment"), events, strict=True):
            did = (np.arange(n) < number).astype(float)
            frames.append(pd.DataFrame({"variation_id": arm, "country": country, "did": did}))
    units = pd.concat(frames, ignore_index=True).assign(experiment_id="e")
    units["unit_id"] = np.arange(len(units))
    load(warehouse, units, ["did"])
    metric = {"name": "did", "fact": "facts", "type": "proportion", "where": "did > 0", "role": "goal"}
    warehouse.dbt("run", vars=settings([metric], dimensions=["country"]), select="+experiment_subgroups")
    mart = subgroups(warehouse).set_index("dimension_value")
    effects, variances, degrees = [], [], []
    for country, events in counts.items():
        x = np.array(events, float)
        if min(events) < 30:
            parts, freedom = (x + 1) * (n - x + 1) / (n + 2) ** 3, 2 * n - 2
        else:
            parts = x / n * (1 - x / n) / n
            freedom = parts.sum() ** 2 / (parts**2 / (n - 1)).sum()
        effects.append((x[1] - x[0]) / n)
        variances.append(parts.sum())
        degrees.append(freedom)
        assert mart.loc[country, "status"] == "ok"
    expected = interaction_of(np.array(effects), np.array(variances), np.array(degrees))
    assert mart["interaction_statistic"].to_numpy() == pytest.approx(expected["q"], rel=1e-9)
    assert mart["interaction_p_value"].to_numpy() == pytest.approx(expected["p_value"], rel=1e-7)
    assert mart.loc[list(counts), "effect_shrunk"].to_numpy() == pytest.approx(expected["shrunk"], rel=1e-8)


def test_slices_that_share_clusters_are_not_independent(warehouse: harness.Warehouse) -> None:
    """Villages speak one language or two, and lie in one country."""
    generator = np.random.default_rng(12)
    n = 1_200
    village = generator.integers(0, 40, n)
    units = pd.DataFrame(
        {
            "experiment_id": "e",
            "unit_id": np.arange(n),
            "cluster_id": [f"v{number}" for number in village],
            "variation_id": generator.choice(["control", "treatment"], n),
            "language": generator.choice(["en", "de"], n),
            "country": np.where(village % 2 == 0, "US", "DE"),
            "value": generator.normal(size=n) + generator.normal(size=40)[village],
        }
    )
    load(warehouse, units, ["value"])
    variables = settings([VALUE], dimensions=["country"], protected_dimensions=["language"])
    warehouse.dbt("run", vars=variables, select="+experiment_subgroups")
    mart = subgroups(warehouse).set_index("dimension_name")
    assert set(mart["status"]) == {"ok"}
    assert set(mart.loc["language", "interaction_reason"]) == {"slices_share_clusters"}
    country = mart.loc["country"]
    assert country["interaction_reason"].isna().all()
    expected = interaction_of(
        country["effect_absolute"].to_numpy(), country["se_absolute"].to_numpy() ** 2, np.array([19.0, 19.0])
    )
    assert country["interaction_p_value"].to_numpy() == pytest.approx(expected["p_value"], rel=1e-7)


# Many experiments, eight slices each: how often is something found where nothing is, and where something is?

NULL, MIXED, SLICES, PER_SLICE = 1_000, 300, 8, 60


@pytest.fixture(scope="module")
def simulated(warehouse_factory: Callable[..., harness.Warehouse]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Skewed values in eight slices: without an effect, and with a gain for all but one slice, which loses."""
    generator = np.random.default_rng(99)
    index = np.indices((NULL + MIXED, SLICES, PER_SLICE)).reshape(3, -1)
    units = pd.DataFrame({"unit_id": np.arange(index.shape[1])})
    units["experiment_id"] = np.where(index[0] < NULL, "null", "mixed") + pd.Series(index[0]).astype(str)
    units["language"] = "l" + pd.Series(index[1]).astype(str)
    treated = generator.random(len(units)) < 0.5
    units["variation_id"] = np.where(treated, "treatment", "control")
    # In standard deviations of the values, which are exp of half a normal.
    spread = np.sqrt((np.exp(0.25) - 1) * np.exp(0.25))
    effect = spread * np.where(index[1] == 3, LOSS, GAIN) * (index[0] >= NULL)
    units["value"] = np.exp(0.5 * generator.normal(size=len(units))) + treated * effect
    warehouse = warehouse_factory("duckdb")
    load(warehouse, units, ["value"])
    warehouse.dbt("run", vars=settings([VALUE], protected_dimensions=["language"]), select="+experiment_subgroups")
    mart = subgroups(warehouse)
    is_null = mart["experiment_id"].str.startswith("null")
    return mart[is_null], mart[~is_null]


GAIN, LOSS = 0.6, -1.2


def test_without_an_effect_little_is_found(simulated: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    null, _ = simulated
    assert len(null) == NULL * SLICES
    p_values = null.groupby("experiment_id")["interaction_p_value"].first()
    # Three standard errors of 1,000 draws at 5% are 2.1 points.
    assert 0.029 < (p_values < 0.05).mean() < 0.071
    assert stats.kstest(p_values, "uniform").pvalue > 0.001
    harmed = null["finding"].str.startswith("harmed").groupby(null["experiment_id"]).any().mean()
    assert harmed < 0.05
    found = null["finding"].isin(["harmed", "harmed_while_average_gains", "gains"])
    assert 0.01 < found.groupby(null["experiment_id"]).any().mean() < 0.071
    # Where slices do not differ, most of what they seem to differ by is shrunk away.
    assert (null["effect_shrunk"] ** 2).mean() < 0.5 * (null["effect_absolute"] ** 2).mean()


def test_the_harmed_slice_is_one_row(simulated: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    _, mixed = simulated
    found = mixed[mixed["finding"] == "harmed_while_average_gains"]
    assert found["experiment_id"].nunique() > 0.6 * MIXED
    assert (found["dimension_value"] == "l3").mean() > 0.999
    assert (mixed["interaction_p_value"] < 0.05).mean() > 0.95


def test_wrong_variances_are_caught(simulated: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """With variances a third too small the bar above is missed by far."""
    null, _ = simulated
    q = null.groupby("experiment_id")["interaction_statistic"].first()
    assert (stats.chi2.sf(q / 0.67, SLICES - 1) < 0.05).mean() > 0.15


@pytest.mark.parametrize("dimensions", [[], ["language"]])
def test_nothing_to_slice(warehouse: harness.Warehouse, dimensions: list[str]) -> None:
    types = {name: "text" for name in ("experiment_id", "variation_id", "unit_id", "language")}
    types["exposed_at"] = "timestamp"
    warehouse.load("exposures", pd.DataFrame(columns=list(types)), types=types)
    facts = {"unit_id": "text", "occurred_at": "timestamp", "value": "double precision"}
    warehouse.load("facts", pd.DataFrame(columns=list(facts)), types=facts)
    warehouse.dbt("run", vars=settings([VALUE], dimensions=dimensions), select="+experiment_subgroups")
    assert warehouse.mart("experiment_subgroups").empty
