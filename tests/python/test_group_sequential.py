"""Group-sequential boundaries: the numbers against published ones, multivariate normal probabilities and simulated
walks; the table against what dbt does to it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
import numpy as np
import pandas as pd
import pytest
import scripts_runner
import yaml
from scipy.signal import fftconvolve
from scipy.stats import multivariate_normal, norm
from test_project import copy_package

import group_sequential as gst  # isort: skip - found once scripts_runner has said where

COLUMNS = [
    *("spending", "alpha", "planned_looks", "look_number", "information_fraction", "boundary_z", "nominal_p_value"),
    "spent_alpha",
]
MODELS = ["+dim_experiments", "group_sequential_boundaries"]


def limits(spending: str, alpha: float, looks: int) -> np.ndarray:
    return np.array([row.boundary_z for row in gst.boundaries(spending, alpha, gst.equal_fractions(looks))])


def spent(spending: str, alpha: float, fraction: np.ndarray) -> np.ndarray:
    """What both tails together have spent, from the definitions of Lan and DeMets."""
    if spending == "pocock":
        return alpha * np.log(1 + (math.e - 1) * fraction)
    return 4 * norm.sf(norm.isf(alpha / 4) / np.sqrt(fraction))


@pytest.mark.parametrize(
    ("spending", "published"),
    [
        ("obrien_fleming", [1.9600]),
        ("obrien_fleming", [2.9626, 1.9686]),
        ("obrien_fleming", [4.3326, 2.9631, 2.3590, 2.0141]),
        ("pocock", [2.4380, 2.4268, 2.4102, 2.3966, 2.3860]),
    ],
)
def test_boundaries_are_the_published_ones(spending: str, published: list[float]) -> None:
    assert limits(spending, 0.05, len(published)) == pytest.approx(published, abs=6e-5)


@pytest.mark.parametrize("spending", gst.SPENDING)
@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("fractions", [[0.25, 0.5, 0.75, 1], [0.1, 0.7, 0.8]])
def test_every_look_spends_what_it_may(spending: str, alpha: float, fractions: list[float]) -> None:
    """Of the looks so far together, by the multivariate normal distribution of their z."""
    z = np.array([row.boundary_z for row in gst.boundaries(spending, alpha, fractions)])
    t = np.array(fractions)
    correlation = np.sqrt(np.minimum.outer(t, t) / np.maximum.outer(t, t))
    for looks in range(1, len(t) + 1):
        inside = multivariate_normal.cdf(
            z[:looks],
            cov=correlation[:looks, :looks],
            lower_limit=-z[:looks],
            maxpts=2_000_000,
            abseps=1e-8,
            rng=np.random.default_rng(1),
        )
        assert 1 - inside == pytest.approx(spent(spending, alpha, t[looks - 1]), abs=2e-6)


def ever_beyond(z: np.ndarray, runs: int, seed: int) -> np.ndarray:
    """The share of simulated experiments without effect that were beyond a limit by each look."""
    rng, looks = np.random.default_rng(seed), len(z)
    crossed = np.zeros(looks)
    for _ in range(10):
        walks = np.cumsum(rng.standard_normal((runs // 10, looks)), axis=1) / np.sqrt(np.arange(1, looks + 1))
        crossed += np.logical_or.accumulate(np.abs(walks) > z, axis=1).sum(axis=0)
    return crossed / runs


@pytest.mark.parametrize("spending", gst.SPENDING)
def test_simulated_experiments_err_as_often_as_planned(spending: str) -> None:
    runs, looks = 400_000, 28
    z = limits(spending, 0.05, looks)
    fractions = np.arange(1, looks + 1) / looks
    planned = spent(spending, 0.05, fractions)
    error = 4 * np.sqrt(planned * (1 - planned) / runs) + 1e-6
    assert (np.abs(ever_beyond(z, runs, seed=7) - planned) < error).all()
    assert gst.crossing_probability(z, fractions) == pytest.approx(0.05, abs=1e-12)


def test_the_simulation_can_fail() -> None:
    """Looking 28 times with 1.96 errs in about 28% of experiments."""
    assert ever_beyond(np.full(28, 1.96), 100_000, seed=7)[-1] == pytest.approx(0.28, abs=0.01)
    assert gst.crossing_probability([1.96] * 28, gst.equal_fractions(28)) == pytest.approx(0.28, abs=0.01)


def by_convolution(spending: str, alpha: float, looks: int) -> list[float]:
    """The boundaries again, on a fine even grid instead of Gauss-Legendre nodes."""
    grid = np.linspace(-3, 3, 12_001)
    width = grid[1] - grid[0]
    sd = math.sqrt(1 / looks)
    kernel = norm.pdf(grid, scale=sd) * width
    density, before, found = None, 0.0, []
    for number in range(1, looks + 1):
        density = norm.pdf(grid, scale=sd) if density is None else fftconvolve(density, kernel, mode="same")
        now = float(spent(spending, alpha, np.array(number / looks)))
        above = np.append(np.cumsum((density[:-1] + density[1:])[::-1] * width / 2)[::-1], 0.0)
        limit = np.interp(-(now - before) / 2, -above, grid)
        found.append(limit / math.sqrt(number / looks))
        density = np.where(np.abs(grid) <= limit, density, 0.0)
        before = now
    return found


@pytest.mark.parametrize("spending", gst.SPENDING)
def test_many_looks_agree_with_another_quadrature(spending: str) -> None:
    # The earliest limits lie where the grid's cumulative sum has no digits left.
    assert limits(spending, 0.05, 28)[4:] == pytest.approx(by_convolution(spending, 0.05, 28)[4:], abs=6e-4)


def test_the_first_of_many_looks_is_finite_and_exact() -> None:
    for looks in (28, 200):
        z = limits("obrien_fleming", 0.05, looks)
        assert np.isfinite(z).all()
        assert (np.diff(z) < 0).all()
        # ln of what the first look spends, which at 200 looks is 1e-219.
        assert norm.logsf(z[0]) == pytest.approx(
            math.log(2) + norm.logsf(norm.isf(0.0125) * math.sqrt(looks)), rel=1e-12
        )


def test_what_a_day_too_late_costs() -> None:
    """A look is taken on the first day that reaches its fraction: the figures of the documentation."""
    for spending in gst.SPENDING:
        z, fractions = limits(spending, 0.05, 28), np.array(gst.equal_fractions(28))
        assert gst.crossing_probability(z, fractions + 0.9 / 28) < 0.05
        assert gst.crossing_probability(z[1::2], fractions[1::2]) < 0.05
        late = fractions.copy()
        late[-1] = 1.05
        assert 0.05 < gst.crossing_probability(z, late) < 0.053


@pytest.mark.parametrize(
    ("alpha", "fractions", "named"),
    [
        (0.5, [1], "alpha"),
        (0, [1], "alpha"),
        (0.05, [], "looks"),
        (0.05, [0.5, 0.5], "rise"),
        (0.05, [0.5, 1.1], "at most 1"),
    ],
)
def test_impossible_plans_are_refused(alpha: float, fractions: list[float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        gst.boundaries("pocock", alpha, fractions)


def test_printing_needs_no_warehouse(capsys: pytest.CaptureFixture[str]) -> None:
    assert gst.main(["--looks", "4", "--spending", "obrien_fleming"]) == 0
    assert "4.3326" in capsys.readouterr().out
    assert gst.main(["--fractions", "0.5", "0.4"]) == 2
    assert "rise" in capsys.readouterr().err


# The table.


def register(warehouse: harness.Warehouse, *experiments: tuple[str, float, float | None, float | None]) -> None:
    columns = ["experiment_id", "alpha", "planned_units", "planned_looks"]
    numbers = dict.fromkeys(columns[1:], "double")
    frame = pd.DataFrame(list(experiments), columns=columns)
    warehouse.load("experiments", frame, types={"experiment_id": "text", **numbers})
    exposures = {"experiment_id": "text", "variation_id": "text", "unit_id": "text", "exposed_at": "timestamp"}
    outcomes = {"outcome_id": "text", "unit_id": "text", "event_name": "text", "occurred_at": "timestamp"}
    for table, types in {"exposures": exposures, "outcomes": outcomes}.items():
        warehouse.load(table, pd.DataFrame(columns=list(types)), types=types)


def table(warehouse: harness.Warehouse, schema: str | None = None) -> pd.DataFrame:
    frame = warehouse.sql(f"select * from {schema or warehouse.mart_schema}.group_sequential_boundaries")
    return frame.sort_values(COLUMNS[:4], ignore_index=True)


def expected(*plans: tuple[float, int]) -> pd.DataFrame:
    rows = [
        row
        for spending in gst.SPENDING
        for plan in plans
        for row in gst.boundaries(spending, plan[0], gst.equal_fractions(plan[1]))
    ]
    return pd.DataFrame([vars(row) for row in rows])[COLUMNS].sort_values(COLUMNS[:4], ignore_index=True)


def test_the_table_is_filled_and_kept(warehouse: harness.Warehouse) -> None:
    variables = {"inputs": ["exposures", "experiments", "outcomes"]}
    words = ["--vars", yaml.safe_dump(variables)]
    register(
        warehouse,
        ("a", 0.05, 1000, 4),
        ("same plan", 0.05, 9000, 4),
        ("another alpha", 0.01, 1000, 4),
        ("no units", 0.05, None, 7),
        ("no looks", 0.05, 1000, None),
        ("half a look", 0.05, 1000, 2.5),
    )
    early = scripts_runner.call(gst.main, warehouse, *words)
    assert early.code == 2
    assert "run dbt first" in early.err

    warehouse.dbt("run", vars=variables, select=MODELS)
    empty = table(warehouse)
    assert list(empty.columns) == COLUMNS
    assert len(empty) == 0
    kinds = {"spending": "object", "planned_looks": "int64", "look_number": "int64"}
    assert {name: str(kind) for name, kind in empty.dtypes.items() if name in kinds} == kinds

    done = scripts_runner.start("group_sequential.py", warehouse, *words)
    assert done.code == 0, done.err
    assert "16 rows" in done.out
    assert "half a look" in done.err
    want = expected((0.05, 4), (0.01, 4))
    pd.testing.assert_frame_equal(table(warehouse), want, check_exact=True, check_dtype=False)

    # Again: the same rows once, also where somebody changed one; those of other plans stay.
    warehouse.execute(
        f"update {warehouse.mart_schema}.group_sequential_boundaries set boundary_z = 9 where alpha = 0.05"
    )
    own = "select 'pocock', 0.2, 1, 1, 1.0, 1.2815515655446008, 0.2, 0.2"
    warehouse.execute(f"insert into {warehouse.mart_schema}.group_sequential_boundaries {own}")
    assert scripts_runner.call(gst.main, warehouse, *words).code == 0
    kept = table(warehouse)
    pd.testing.assert_frame_equal(
        kept[kept.alpha < 0.2].reset_index(drop=True), want, check_exact=True, check_dtype=False
    )
    assert (kept.alpha == 0.2).sum() == 1

    # What an experiment asks for is found by equality.
    found = warehouse.sql(
        f"select experiment_id, count(*) as looks from {warehouse.mart_schema}.dim_experiments as experiments "
        f"join {warehouse.mart_schema}.group_sequential_boundaries as boundaries "
        "on experiments.alpha = boundaries.alpha and experiments.planned_looks = boundaries.planned_looks "
        "group by experiment_id order by experiment_id"
    )
    assert dict(zip(found.experiment_id, found.looks, strict=True)) == {"a": 8, "another alpha": 8, "same plan": 8}

    for command in ("run", "run --full-refresh"):
        warehouse.dbt(command, vars=variables, select="group_sequential_boundaries")
        pd.testing.assert_frame_equal(table(warehouse), kept, check_exact=True)

    # Gone from the registry: nothing to compute, nothing lost.
    register(warehouse, ("a", 0.05, None, None))
    warehouse.dbt("run", vars=variables, select=MODELS)
    idle = scripts_runner.call(gst.main, warehouse, *words)
    assert idle.code == 0
    assert "nothing to compute" in idle.out
    pd.testing.assert_frame_equal(table(warehouse), kept, check_exact=True)


def test_a_failed_write_changes_nothing(warehouse: harness.Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new rows of the second statement break a constraint: the deleted ones must come back."""
    register(warehouse, ("a", 0.05, 1000, 3))
    variables = {"inputs": ["exposures", "experiments", "outcomes"]}
    words = ["--vars", yaml.safe_dump(variables)]
    warehouse.dbt("run", vars=variables, select=MODELS)
    assert scripts_runner.call(gst.main, warehouse, *words).code == 0
    before = table(warehouse)

    class Broken(gst.Warehouse):
        def replace_rows(self, name: str, keys: object, rows: list[dict[str, object]]) -> None:
            super().replace_rows(name, keys, [*rows[:-1], {**rows[-1], "look_number": "no number"}])

    import _warehouse

    monkeypatch.setattr(_warehouse, "Warehouse", Broken)
    outcome = scripts_runner.call(gst.main, warehouse, *words)
    assert outcome.code == 2
    assert outcome.err.startswith("group_sequential: ")
    pd.testing.assert_frame_equal(table(warehouse), before, check_exact=True)


@pytest.mark.parametrize("engine", ["postgres"], indirect=True)
def test_two_runs_at_once_store_the_rows_once(warehouse: harness.Warehouse) -> None:
    """The other run has inserted its rows and not committed yet when ours starts. A DuckDB file has one writer."""
    register(warehouse, ("a", 0.05, 1000, 3))
    variables = {"inputs": ["exposures", "experiments", "outcomes"]}
    warehouse.dbt("run", vars=variables, select=MODELS)
    other = warehouse._workshop.postgres.connect(warehouse.database)
    other.autocommit = False
    values = ", ".join(
        f"('{row.spending}', 0.05, 3, {row.look_number}, {row.information_fraction!r}, 9, 0.1, 0.05)"
        for row in expected((0.05, 3)).itertuples()
    )
    with other.cursor() as cursor:
        cursor.execute(f"insert into {warehouse.mart_schema}.group_sequential_boundaries values {values}")
    with ThreadPoolExecutor(1) as pool:
        words = ["--vars", yaml.safe_dump(variables)]
        ours = pool.submit(scripts_runner.start, "group_sequential.py", warehouse, *words)
        waiting = "select count(*) as runs from pg_locks where not granted"
        while not ours.done() and warehouse.sql(waiting)["runs"][0] == 0:
            time.sleep(0.1)
        other.commit()
        other.close()
        assert ours.result().code == 0, ours.result().err
    pd.testing.assert_frame_equal(table(warehouse), expected((0.05, 3)), check_exact=True, check_dtype=False)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_package(tmp_path_factory.mktemp("package") / "evalhouse")


@pytest.fixture(scope="module", params=["table", "full_refresh", "view"])
def stubborn(
    request: pytest.FixtureRequest,
    engine: str,
    package: Path,
    tmp_path_factory: pytest.TempPathFactory,
    warehouse_factory: Callable[..., harness.Warehouse],
) -> Iterator[tuple[harness.Warehouse, str]]:
    """A project of somebody's own, with its own schema name, that overrules how the model is built."""
    folder = tmp_path_factory.mktemp("consumer") / "shop"
    folder.mkdir()
    forced = {"+full_refresh": True} if request.param == "full_refresh" else {"+materialized": request.param}
    settings = {
        **{"name": "shop", "version": "1.0.0", "config-version": 2, "profile": "evalhouse"},
        "models": {"evalhouse": {"+schema": "results", **forced}},
        "vars": {"evalhouse": {"inputs": ["exposures", "experiments", "outcomes"]}},
    }
    (folder / "dbt_project.yml").write_text(yaml.safe_dump(settings))
    (folder / "packages.yml").write_text(yaml.safe_dump({"packages": [{"local": str(package)}]}))
    warehouse = warehouse_factory(engine, project_dir=folder)
    warehouse.dbt("deps")
    yield warehouse, request.param
    warehouse.close()


def test_a_project_that_overrules_keeps_its_rows(stubborn: tuple[harness.Warehouse, str]) -> None:
    warehouse, forced = stubborn
    schema = warehouse.mart_schema.replace("evalhouse", "results")
    register(warehouse, ("a", 0.05, 1000, 3))
    warehouse.dbt("run", select=MODELS)
    assert len(table(warehouse, schema)) == 0
    done = scripts_runner.call(gst.main, warehouse)
    if forced == "view":
        assert done.code == 2
        assert "is a view, but must be a table" in done.err
        warehouse.dbt("run", select="group_sequential_boundaries")
        return
    assert done.code == 0, done.err
    written = table(warehouse, schema)
    pd.testing.assert_frame_equal(written, expected((0.05, 3)), check_exact=True, check_dtype=False)
    for command in ("run", "run --full-refresh"):
        warehouse.dbt(command, select="group_sequential_boundaries")
        pd.testing.assert_frame_equal(table(warehouse, schema), written, check_exact=True)
