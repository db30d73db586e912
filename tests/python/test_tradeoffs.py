"""experiment_tradeoffs: what two metrics share by chance, verdicts in an experiment, correlations across experiments.

Covariances are checked against numpy and, between clusters, against stacked regressions of statsmodels. The simulations
take pairs of metrics as worlds, so that one run of dbt holds many of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import harness
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import stats

EXPOSED = pd.Timestamp("2024-03-01")
AFTER = pd.Timestamp("2024-03-02")
BEFORE = pd.Timestamp("2024-02-25")
FACT = {"name": "facts", "relation": "raw.facts", "unit_column": "unit_id", "time_column": "occurred_at"}
KEY = ["scope", "experiment_id", "variation_id", "goal_metric_name", "other_metric_name"]


def mean(name: str, role: str = "secondary", **more: Any) -> dict[str, Any]:
    return {"name": name, "fact": "facts", "type": "mean", "value": name, "role": role, **more}


def settings(metrics: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"raw_schema": "raw", "inputs": ["exposures"], "facts": [FACT], "metrics": metrics, **more}


def load(warehouse: harness.Warehouse, units: pd.DataFrame, columns: list[str], **tables: pd.DataFrame) -> None:
    """Units with experiment_id, variation_id and the columns of their row after exposure; x_ ones are from before."""
    exposures = units[[name for name in ("experiment_id", "variation_id", "unit_id", "cluster_id") if name in units]]
    warehouse.load("exposures", exposures.assign(exposed_at=units.get("exposed_at", EXPOSED)))
    facts = units[["unit_id", *columns]].assign(occurred_at=AFTER)
    before = [name for name in columns if f"x_{name}" in units]
    if before:
        earlier = units[["unit_id"]].assign(occurred_at=BEFORE, **{name: units[f"x_{name}"] for name in before})
        facts = pd.concat([facts, earlier], ignore_index=True)
    warehouse.load("facts", facts)
    for name, frame in tables.items():
        warehouse.load(name, frame)


def tradeoffs(warehouse: harness.Warehouse, scope: str) -> pd.DataFrame:
    mart = warehouse.mart("experiment_tradeoffs")
    assert not mart.duplicated(KEY).any()
    # A number is null only with a reason.
    numbers = {
        "experiment": ["goal_effect_absolute", "other_effect_absolute", "other_loss_limit", "error_correlation"],
        "across_experiments": ["observed_correlation", "error_correlation", "correlation", "goal_reliability"],
    }
    for name, columns in numbers.items():
        rows = mart[mart["scope"] == name]
        assert rows.loc[rows[[*columns, "p_value_adjusted"]].isna().any(axis=1), "status_reason"].notna().all()
    assert (mart["verdict"].eq("not_computed") == mart["status"].ne("ok")).all()
    assert mart.loc[mart["error_correlation"].notna(), "error_correlation"].abs().max() <= 1 + 1e-9
    return mart[mart["scope"] == scope]


# The covariance of two effects.

METRICS = [
    mean("spend", "goal", cuped=True),
    mean("visits", "goal"),
    mean("rated", missing="exclude"),
    {"name": "did", "fact": "facts", "type": "proportion", "where": "did > 0", "role": "guardrail"},
    {"name": "rate", "fact": "facts", "type": "ratio", "value": "num", "denominator": {"value": "den"}, "cuped": True},
    mean("late", cuped=True, direction="decrease"),
    {"name": "median", "fact": "facts", "type": "quantile", "value": "visits", "quantile": 0.5},
]
COLUMNS = ["spend", "visits", "rated", "did", "num", "den", "late"]


def draw_units(generator: np.random.Generator, experiment: str, sizes: dict[str, int], phase: int = 0) -> pd.DataFrame:
    """Units whose metrics all hang on one latent engagement, before exposure and after."""
    frames = []
    for number, (variation, n) in enumerate(sizes.items()):
        latent = generator.normal(size=n)

        def noisy(weight: float, latent: np.ndarray = latent, n: int = n) -> np.ndarray:
            return weight * latent + generator.normal(size=n)

        den = 1 + generator.poisson(np.exp(0.3 * latent))
        frames.append(
            pd.DataFrame(
                {
                    "experiment_id": experiment,
                    "variation_id": variation,
                    "unit_id": [f"{experiment}-{phase}-{variation}-{i}" for i in range(n)],
                    "spend": 100 + noisy(1.0) + 0.1 * number,
                    "x_spend": 90 + noisy(1.5),
                    "visits": np.exp(0.5 * noisy(1.0)),
                    "rated": np.where(generator.random(n) < 0.6, noisy(0.8), np.nan),
                    "did": (noisy(1.0) > 0.5).astype(float),
                    "num": den * (2 + 0.5 * noisy(1.0)),
                    "den": den.astype(float),
                    "x_num": 3 + noisy(0.7),
                    "x_den": 2 + generator.random(n),
                    "late": noisy(-0.7),
                    "x_late": noisy(-0.9),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def residuals(control: pd.DataFrame, treatment: pd.DataFrame, metric: str) -> tuple[list[pd.Series], list[float]]:
    """Of each arm: the units' influence on the difference, times n, and what divides a product of two sums of them."""
    arms, divisors = [], []
    if metric == "rate":
        linear = []
        for arm in (control, treatment):
            z = (arm["num"] - arm["num"].mean() / arm["den"].mean() * arm["den"]) / arm["den"].mean()
            w = (arm["x_num"] - arm["x_num"].mean() / arm["x_den"].mean() * arm["x_den"]) / arm["x_den"].mean()
            linear.append((z, w))
        theta = sum(np.cov(z, w)[0, 1] for z, w in linear) / sum(np.var(w, ddof=1) for _, w in linear)
        arms = [z - theta * w for z, w in linear]
    elif metric in ("spend", "late"):
        both = pd.concat([control, treatment])
        theta = np.polyfit(both[f"x_{metric}"], both[metric], 1)[0]
        arms = [arm[metric] - theta * arm[f"x_{metric}"] for arm in (control, treatment)]
    else:
        arms = [arm[metric] for arm in (control, treatment)]
    for arm in arms:
        n = arm.notna().sum()
        divisors.append(float(n) if metric == "did" else np.sqrt(n * (n - 1)))
    return [arm - arm.mean() for arm in arms], divisors


def covariance(phases: list[tuple[pd.DataFrame, pd.DataFrame]], first: str, second: str) -> float:
    total = 0.0
    weights = {}
    for metric in (first, second):
        column = {"rate": "num"}.get(metric, metric)
        counts = [[arm[column].notna().sum() for arm in phase] for phase in phases]
        information = np.array([a * b / (a + b) for a, b in counts])
        weights[metric] = information / information.sum()
    for number, (control, treatment) in enumerate(phases):
        of_first = residuals(control, treatment, first)
        of_second = residuals(control, treatment, second)
        for arm in (0, 1):
            product = (of_first[0][arm] * of_second[0][arm]).sum()
            scale = weights[first][number] * weights[second][number]
            total += scale * product / (of_first[1][arm] * of_second[1][arm])
    return total


@pytest.fixture(scope="module")
def covaried(
    engine: str, warehouse_factory: Callable[..., harness.Warehouse]
) -> tuple[harness.Warehouse, pd.DataFrame, pd.DataFrame]:
    """One experiment of three unequal arms, one with a ramp, one with villages that hold both arms, and small ones."""
    generator = np.random.default_rng(7)
    plain = draw_units(generator, "plain", {"control": 120, "blue": 60, "green": 90})
    ramp = [draw_units(generator, "ramp", sizes, k) for k, sizes in enumerate([
        {"control": 150, "blue": 20}, {"control": 70, "blue": 80},
    ])]  # fmt: skip
    ramp = pd.concat([frame.assign(phase=k) for k, frame in enumerate(ramp)], ignore_index=True)
    villages = draw_units(generator, "villages", {"control": 80, "blue": 100})
    village = generator.integers(0, 25, len(villages))
    villages["cluster_id"] = [f"v{number}" for number in village]
    for column in ("spend", "visits", "num"):
        villages[column] += generator.normal(size=25)[village]
    tiny = draw_units(generator, "tiny", {"control": 1, "blue": 1})
    units = pd.concat([plain, ramp, villages, tiny], ignore_index=True)
    units["exposed_at"] = EXPOSED + pd.to_timedelta(units["phase"].fillna(0) * 6, unit="h")
    started = [EXPOSED - pd.Timedelta("1h"), EXPOSED + pd.Timedelta("3h")]
    phases = pd.DataFrame(
        [
            {"experiment_id": "ramp", "phase_started_at": time, "variation_id": name, "expected_weight": weight}
            for time, share in zip(started, (0.1, 0.5), strict=True)
            for name, weight in (("control", 1 - share), ("blue", share))
        ]
    )
    warehouse = warehouse_factory(engine)
    load(warehouse, units, COLUMNS, experiment_phases=phases)
    variables = settings(
        METRICS,
        inputs=["exposures", "experiment_phases"],
        guardrails=[{"metric": "did", "margin_absolute": 0.2}],
    )
    warehouse.dbt("run", vars=variables, select="+experiment_tradeoffs")
    return warehouse, units, tradeoffs(warehouse, "experiment")


PAIRS = [
    (goal, other)
    for goal in ("spend", "visits")
    for other in ("spend", "visits", "rated", "did", "rate", "late")
    if goal != other
]


@pytest.mark.parametrize("variation", ["blue", "green"])
@pytest.mark.parametrize(("goal", "other"), PAIRS)
def test_covariance_of_two_effects(covaried: tuple, goal: str, other: str, variation: str) -> None:
    _, units, mart = covaried
    arms = units[units["experiment_id"] == "plain"].groupby("variation_id")
    check(mart, "plain", variation, goal, other, [(arms.get_group("control"), arms.get_group(variation))])


@pytest.mark.parametrize(("goal", "other"), PAIRS)
def test_covariance_over_phases(covaried: tuple, goal: str, other: str) -> None:
    _, units, mart = covaried
    groups = units[units["experiment_id"] == "ramp"].groupby(["phase", "variation_id"])
    phases = [(groups.get_group((k, "control")), groups.get_group((k, "blue"))) for k in (0, 1)]
    check(mart, "ramp", "blue", goal, other, phases)


def check(mart: pd.DataFrame, experiment: str, variation: str, goal: str, other: str, phases: list[tuple]) -> None:
    row = mart.set_index(KEY[1:]).loc[(experiment, variation, goal, other)]
    # The harness for the covariance is right when it gives the published standard errors.
    for name, side in ((goal, "goal"), (other, "other")):
        assert row[f"{side}_se_absolute"] ** 2 == pytest.approx(covariance(phases, name, name), rel=1e-9)
    sign = -1 if other == "late" else 1
    expected = sign * covariance(phases, goal, other) / (row["goal_se_absolute"] * row["other_se_absolute"])
    assert abs(expected) > 0.02
    assert row["error_correlation"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("goal", "other"), [("visits", "did"), ("visits", "rated")])
def test_covariance_between_clusters(covaried: tuple, goal: str, other: str) -> None:
    """Both regressions stacked, so that the sandwich holds the covariance of the two effects."""
    _, units, mart = covaried
    villages = units[units["experiment_id"] == "villages"]
    blocks = []
    for name in (goal, other):
        rows = villages[villages[name].notna()]
        blocks.append((rows[name], (rows["variation_id"] == "blue").astype(float), rows["cluster_id"]))
    sizes = [len(block[0]) for block in blocks]
    design = np.zeros((sum(sizes), 4))
    design[: sizes[0], 0] = design[sizes[0] :, 2] = 1
    design[: sizes[0], 1] = blocks[0][1]
    design[sizes[0] :, 3] = blocks[1][1]
    outcome = np.concatenate([block[0] for block in blocks])
    clusters = pd.factorize(np.concatenate([block[2] for block in blocks]))[0]
    fitted = sm.OLS(outcome, design).fit(cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False})
    sandwich = fitted.cov_params()
    expected = sandwich[1, 3] / np.sqrt(sandwich[1, 1] * sandwich[3, 3])
    row = mart.set_index(KEY[1:]).loc[("villages", "blue", goal, other)]
    assert abs(expected) > 0.02
    assert row["error_correlation"] == pytest.approx(expected, rel=1e-8)


def test_two_goals_are_a_pair_each_way(covaried: tuple) -> None:
    _, _, mart = covaried
    for experiment in ("plain", "ramp", "villages"):
        rows = mart[(mart["experiment_id"] == experiment) & (mart["variation_id"] == "blue")]
        rows = rows.set_index(["goal_metric_name", "other_metric_name"])["error_correlation"]
        assert rows["spend", "visits"] == pytest.approx(rows["visits", "spend"], rel=1e-12)


def test_rows_without_numbers_say_why(covaried: tuple) -> None:
    _, _, mart = covaried
    mart = mart.set_index(KEY[1:])
    row = mart.loc[("plain", "blue", "spend", "median")]
    assert row["status"] == "ok"
    assert row["status_reason"] == "no_error_covariance_with_quantiles"
    row = mart.loc[("tiny", "blue", "spend", "visits")]
    assert (row["status"], row["status_reason"]) == ("insufficient", "goal_fewer_than_two_units")
    assert row["verdict"] == "not_computed"
    assert len(mart) == 5 * 2 * 6


def test_a_loss_is_excluded_by_the_interval(covaried: tuple) -> None:
    """`did` should increase and may fall by 0.2: compared with the lower end of its interval."""
    warehouse, _, mart = covaried
    results = warehouse.mart("experiment_results").set_index(["experiment_id", "variation_id", "metric_name"])
    for row in mart[mart["other_metric_name"].isin(["did", "late"]) & mart["status"].eq("ok")].itertuples():
        result = results.loc[(row.experiment_id, row.variation_id, row.other_metric_name)]
        if row.other_metric_name == "late":
            assert row.other_loss_limit == result["ci_upper_absolute"]
            assert pd.isna(row.is_loss_excluded)
        else:
            assert row.other_loss_limit == -result["ci_lower_absolute"]
            assert row.is_loss_excluded == (result["ci_lower_absolute"] > -0.2)
    assert set(mart.loc[mart["other_metric_name"] == "did", "is_loss_excluded"].dropna()) == {True, False}


# Verdicts.


def test_verdicts(warehouse: harness.Warehouse) -> None:
    """An effect of +1, 0 or -1 on a goal and on two others, of which one should fall."""
    generator = np.random.default_rng(11)
    frames = []
    for goal in (1, 0, -1):
        for other in (1, 0, -1):
            n = 200
            treated = np.repeat([0, 1], n)
            frames.append(
                pd.DataFrame(
                    {
                        "experiment_id": f"{goal}{other}",
                        "variation_id": np.where(treated, "treatment", "control"),
                        "unit_id": [f"{goal}{other}-{i}" for i in range(2 * n)],
                        "goal": generator.permutation(np.linspace(-1, 1, 2 * n)) * 0.5 + goal * treated,
                        "up": generator.permutation(np.linspace(-1, 1, 2 * n)) * 0.5 + other * treated,
                        "down": generator.permutation(np.linspace(-1, 1, 2 * n)) * 0.5 - other * treated,
                    }
                )
            )
    load(warehouse, pd.concat(frames, ignore_index=True), ["goal", "up", "down"])
    metrics = [mean("goal", "goal"), mean("up"), mean("down", "guardrail", direction="decrease")]
    warehouse.dbt("run", vars=settings(metrics), select="+experiment_tradeoffs")
    expected = {
        "11": "aligned", "1-1": "trade_off", "-1-1": "both_worse", "-11": "reverse",
        "10": "no_evidence", "01": "no_evidence", "00": "no_evidence", "0-1": "no_evidence", "-10": "no_evidence",
    }  # fmt: skip
    mart = tradeoffs(warehouse, "experiment")
    assert len(mart) == 2 * len(expected)
    assert {(row.experiment_id, row.verdict) for row in mart.itertuples()} == set(expected.items())
    larger = mart[["goal_p_value_adjusted", "other_p_value_adjusted"]].max(axis=1)
    assert (mart["p_value_adjusted"] == larger).all()
    across = tradeoffs(warehouse, "across_experiments")
    assert set(across["status_reason"]) == {"fewer_than_20_experiments"}
    assert set(across["experiments"]) == {9}
    assert across["correlation"].isna().all()


# Correlation over experiments.


def draw_worlds(
    generator: np.random.Generator,
    experiments: int,
    n: int,
    worlds: list[tuple[str, float, float, float]],
    variations: tuple[str, ...] = ("treatment",),
) -> pd.DataFrame:
    """Each world (name, latent correlation, noise correlation, reliability) is a goal g_name and another o_name."""
    arms = 1 + len(variations)
    shape = (experiments, arms, n)
    columns: dict[str, np.ndarray] = {}
    for name, latent, noise, reliability in worlds:
        # An effect's noise has the variance 2 / n.
        spread = np.sqrt(2 / n * reliability / (1 - reliability))
        effects = spread * generator.standard_normal((2, experiments, arms, 1))
        effects[:, :, 0] = 0
        values = generator.standard_normal((2, *shape))
        columns[f"g_{name}"] = values[0] + effects[0]
        other = latent * effects[0] + np.sqrt(1 - latent**2) * effects[1]
        columns[f"o_{name}"] = noise * values[0] + np.sqrt(1 - noise**2) * values[1] + other
    flat = {name: values.ravel() for name, values in columns.items()}
    index = np.indices(shape).reshape(3, -1)
    names = np.array(["control", *variations])
    frame = pd.DataFrame({"unit_id": np.arange(experiments * arms * n), **flat})
    return frame.assign(experiment_id=[f"e{number}" for number in index[0]], variation_id=names[index[1]])


def world_settings(worlds: list[tuple[str, float, float, float]]) -> dict[str, Any]:
    goals = [mean(f"g_{name}", "goal") for name, *_ in worlds]
    return settings(goals + [mean(f"o_{name}") for name, *_ in worlds])


def own_pairs(mart: pd.DataFrame) -> pd.DataFrame:
    """A world's goal with its own other metric; all else are pairs of strangers."""
    same = mart["goal_metric_name"].str[2:] == mart["other_metric_name"].str[2:]
    return mart[same].assign(world=mart["goal_metric_name"].str[2:]).set_index("world")


EXPERIMENTS = 40


@pytest.fixture(scope="module")
def worlds(warehouse_factory: Callable[..., harness.Warehouse]) -> pd.DataFrame:
    """S5b: nothing but noise is shared. S5: the true effects are correlated. S0: nothing is shared."""
    generator = np.random.default_rng(2024)
    drawn = [(f"noise_{i}", 0.0, 0.6, 0.6) for i in range(12)]
    drawn += [(f"latent_{i}", 0.8, 0.0, 0.6) for i in range(8)]
    warehouse = warehouse_factory("duckdb")
    units = draw_worlds(generator, EXPERIMENTS, 60, drawn)
    load(warehouse, units, [name for name in units if name[:2] in ("g_", "o_")])
    warehouse.dbt("run", vars=world_settings(drawn), select="+experiment_tradeoffs")
    mart = tradeoffs(warehouse, "across_experiments")
    assert (mart["experiments"] == EXPERIMENTS).all()
    return mart


def significant(correlations: pd.Series) -> float:
    """Share of plain correlations that a reader would call significant."""
    t = correlations * np.sqrt((EXPERIMENTS - 2) / (1 - correlations**2))
    return float((2 * stats.t.sf(t.abs(), EXPERIMENTS - 2) < 0.05).mean())


def test_shared_noise_is_no_correlation(worlds: pd.DataFrame) -> None:
    pairs = own_pairs(worlds)
    noise = pairs[pairs.index.str.startswith("noise")]
    assert noise["error_correlation"].mean() == pytest.approx(0.6, abs=0.02)
    assert 0.14 < noise["observed_correlation"].mean() < 0.34
    assert significant(noise["observed_correlation"]) > 0.15
    assert noise["status"].eq("ok").sum() >= 9
    assert abs(noise["correlation"].mean()) < 0.15
    assert (noise["p_value_adjusted"] < 0.05).sum() == 0
    # Without the covariance of the errors the correlation would be this, and stay.
    uncorrected = noise["observed_correlation"] / np.sqrt(noise["goal_reliability"] * noise["other_reliability"])
    assert uncorrected.mean() > 0.25


def test_a_correlation_behind_the_noise_is_recovered(worlds: pd.DataFrame) -> None:
    pairs = own_pairs(worlds)
    latent = pairs[pairs.index.str.startswith("latent")]
    assert latent["observed_correlation"].mean() < 0.62
    known = latent["correlation"].dropna()
    assert len(known) >= 4
    # What exceeds one is refused, so those that are left average a little lower.
    assert known.mean() == pytest.approx(0.8, abs=0.15)
    assert set(latent.loc[latent["correlation"].isna(), "status_reason"]) <= {"correlation_beyond_one"}
    assert set(latent["verdict"]) <= {"aligned", "not_computed", "no_evidence"}


def test_strangers_are_seldom_called_related(worlds: pd.DataFrame) -> None:
    same = worlds["goal_metric_name"].str[2:] == worlds["other_metric_name"].str[2:]
    strangers = worlds[~same & worlds["status"].eq("ok")]
    assert len(strangers) > 500
    assert abs(strangers["correlation"].mean()) < 0.03
    assert strangers["verdict"].isin(["aligned", "trade_off"]).mean() < 0.01


def corrected_by_numpy(units: pd.DataFrame, goal: str, other: str, variation: str, sign: float) -> dict[str, float]:
    effects, noise = [], []
    for _, rows in units.groupby("experiment_id"):
        arms = [rows.loc[rows["variation_id"] == name, [goal, other]].to_numpy() for name in ("control", variation)]
        effects.append(arms[1].mean(0) - arms[0].mean(0))
        noise.append(sum(np.cov(arm.T) / len(arm) for arm in arms))
    flip = np.array([1.0, sign])
    effects = np.array(effects) * flip
    noise = np.array(noise) * np.outer(flip, flip)
    observed = np.cov(effects.T)
    latent = observed - noise.mean(0)
    centred = effects - effects.mean(0)
    k = len(effects)
    terms = centred[:, 0] * centred[:, 1] * k / (k - 1) - noise[:, 0, 1]
    t = terms.mean() / (terms.std(ddof=1) / np.sqrt(k))
    with np.errstate(invalid="ignore"):
        return {
            "observed": observed[0, 1] / np.sqrt(observed[0, 0] * observed[1, 1]),
            "goal_variance": latent[0, 0],
            "other_variance": latent[1, 1],
            "goal_reliability": latent[0, 0] / observed[0, 0],
            "correlation": latent[0, 1] / np.sqrt(latent[0, 0] * latent[1, 1]),
            "p_value": 2 * stats.t.sf(abs(t), k - 1),
        }


def test_correction_and_refusals_against_numpy(warehouse: harness.Warehouse) -> None:
    """Twenty experiments of two treatments, of which only the first may count; metrics at the edge of what is known."""
    generator = np.random.default_rng(14)
    drawn = [
        ("a", 0.5, 0.5, 0.7), ("b", 0.9, -0.7, 0.5), ("c", 0.95, 0.0, 0.4), ("d", -0.8, 0.3, 0.6),
        ("e", 0.0, 0.0, 0.02),
    ]  # fmt: skip
    units = draw_worlds(generator, 20, 30, drawn, variations=("blue", "green"))
    # The 21st experiment has units without one of the metrics.
    extra = draw_worlds(generator, 1, 30, drawn, variations=("blue",)).assign(experiment_id="half", g_a=np.nan)
    extra["unit_id"] += len(units)
    columns = [name for name in units if name[:2] in ("g_", "o_")]
    load(warehouse, pd.concat([units, extra], ignore_index=True), columns)
    variables = world_settings(drawn)
    variables["metrics"][0]["missing"] = "exclude"
    variables["metrics"][-1]["direction"] = "decrease"
    warehouse.dbt("run", vars=variables, select="+experiment_tradeoffs")
    mart = tradeoffs(warehouse, "across_experiments").set_index(["goal_metric_name", "other_metric_name"])
    p_values = {}
    reasons = set()
    everyone = pd.concat([units, extra], ignore_index=True)
    for (goal, other), row in mart.iterrows():
        sample = units if "g_a" in (goal, other) else everyone
        sign = -1.0 if other == "o_e" else 1.0
        expected = corrected_by_numpy(sample, goal, other, "blue", sign)
        assert row["experiments"] == sample["experiment_id"].nunique()
        assert row["observed_correlation"] == pytest.approx(expected["observed"], rel=1e-8)
        assert row["goal_reliability"] == pytest.approx(expected["goal_reliability"], rel=1e-8)
        if expected["goal_variance"] <= 0:
            reason = "goal_effects_within_noise"
        elif expected["other_variance"] <= 0:
            reason = "other_effects_within_noise"
        elif abs(expected["correlation"]) > 1:
            reason = "correlation_beyond_one"
        else:
            reason = None
            p_values[goal, other] = expected["p_value"]
            assert row["correlation"] == pytest.approx(expected["correlation"], rel=1e-8)
        assert row["status_reason"] == reason, (goal, other)
        assert row["status"] == ("ok" if reason is None else "refused")
        assert pd.isna(row["correlation"]) == (reason is not None)
        reasons.add(reason)
    assert reasons == {
        None, "goal_effects_within_noise", "other_effects_within_noise", "correlation_beyond_one",
    }  # fmt: skip
    adjusted = stats.false_discovery_control(list(p_values.values()), method="bh")
    for pair, p_value in zip(p_values, adjusted, strict=True):
        row = mart.loc[pair]
        assert row["p_value_adjusted"] == pytest.approx(p_value, rel=1e-7)
        found = "trade_off" if row["correlation"] < 0 else "aligned"
        assert row["verdict"] == (found if p_value < 0.05 else "no_evidence")


@pytest.mark.parametrize("metrics", [[], [mean("one", "goal")]])
def test_nothing_to_compare(warehouse: harness.Warehouse, metrics: list[dict[str, Any]]) -> None:
    units = pd.DataFrame({"experiment_id": "e", "variation_id": ["control", "b"] * 3, "unit_id": range(6)})
    load(warehouse, units.assign(one=1.0), ["one"])
    warehouse.dbt("run", vars=settings(metrics), select="+experiment_tradeoffs")
    assert warehouse.mart("experiment_tradeoffs").empty
