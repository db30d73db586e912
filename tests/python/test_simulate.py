"""scripts/simulate.py without dbt: what it draws is what it says, and every bar can be missed."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import duckdb
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
import simulate


def drawn(name: str, experiments: int = 2, run: int = 0) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    simulate.simulate(connection, name, experiments, run)
    return connection


@pytest.mark.parametrize("name", simulate.FAMILIES)
def test_every_family_has_its_units_on_28_days(name: str) -> None:
    family = simulate.FAMILIES[name]
    connection = drawn(name)
    units, days = connection.execute("select count(*), count(distinct exposed_at::date) from raw.exposures").fetchone()
    assert units == 2 * family.units
    assert days == simulate.DAYS
    variations = connection.execute("select distinct variation_id from raw.exposures").fetchall()
    assert {item for (item,) in variations} == set(family.variations)
    names = connection.execute("select distinct name from raw.simulated where name is not null").fetchall()
    assert {item for (item,) in names} == set(family.metrics)
    # The last day is complete: one row comes later, and it is nobody's.
    late = connection.execute(
        f"select unit_id from raw.simulated where occurred_at >= timestamp '{simulate.START}' + interval 28 days"
    ).fetchall()
    assert late == [(-1,)]


def test_counts_of_events_are_exact_where_they_are_said_to_be() -> None:
    counts = drawn("from_zero", 1).execute(
        "select variation_id, name, count(*) from raw.simulated join raw.exposures using (unit_id) group by all"
    )
    found = {(variation, name): number for variation, name, number in counts.fetchall()}
    for margin in (0, 1, 5):
        assert found.get(("control", f"zero_{margin}"), 0) == 0
        assert found["treatment_1", f"zero_{margin}"] == 300
        assert found["control", f"ten_{margin}"] == 10
        assert found["treatment_1", f"ten_{margin}"] == 120


def test_effects_are_what_the_truth_says() -> None:
    shares = drawn("ramp_declared", 40).execute(
        """
        select variation_id, exposed_at < timestamp '2024-03-13', count(name) / count(*)
        from raw.exposures
        left join raw.simulated using (unit_id)
        group by all
        """
    )
    found = {(variation, is_first): share for variation, is_first, share in shares.fetchall()}
    assert found["control", True] == pytest.approx(0.30, abs=0.003)
    assert found["treatment_1", True] == pytest.approx(0.31, abs=0.03)
    # Days 10 to 18 at .27 and, for most of the treated, days 19 to 28 at .22.
    assert 0.23 < found["treatment_1", False] < 0.25


def test_the_seed_decides_the_data() -> None:
    query = "select count(*), sum(hash(unit_id, occurred_at, name)) from raw.simulated"
    first, again, other = (drawn("guardrails_rare", 1, run).execute(query).fetchone() for run in (0, 0, 1))
    assert first == again != other


GOOD = {
    "series": 1000, "looks": 28_000, "sequential_ever": 50, "interval_missed_ever": 50, "checks": 1000,
    "passed_ever": 50, "better": 25, "fixed_missed": 50, "breached": 50, "status_warn": 1000,
}  # fmt: skip


@pytest.mark.parametrize(
    ("family", "cell", "change", "bar"),
    [
        ("looks", "rate_2000", {}, None),
        ("looks", "rate_2000", {"sequential_ever": 51}, "always-valid p-value ever below .05 in 5.1% above 5.0%"),
        ("looks", "rate_2000_lift", {"sequential_ever": 900}, None),
        ("looks", "rate_2000_lift", {"interval_missed_ever": 80},
         "always-valid interval ever without the truth in 8.0% above 5.0%"),
        ("guardrails", "all", {}, None),
        ("guardrails", "all", {"breached": 51}, "false breach in an experiment 5.1% above 5.0%"),
        ("guardrails", "rate_0500_at_margin", {"passed_ever": 80}, "false pass 8.0% above 5.0%"),
        ("harm_of_20", "all", {"breached": 1000}, None),
        ("ramp_declared", "harmed", {"better": 45}, "harm called better 4.5% above 2.5%"),
        ("ramp_declared", "harmed", {"fixed_missed": 80}, "interval without the truth 8.0% above 5.0%"),
        ("novelty", "novelty:wears_off", {"status_warn": 700}, "novelty found in 70.0%, below 80%"),
        ("novelty", "novelty:stays", {"status_warn": 30}, "novelty seen 3.0% above 1.0%"),
        ("ramp_undeclared", "ramp_reversal:all", {"status_warn": 10}, "ramp_reversal not reported"),
    ],
)  # fmt: skip
def test_every_bar_can_be_missed(family: str, cell: str, change: dict[str, int], bar: str | None) -> None:
    missed = simulate.judge(simulate.FAMILIES[family], cell, Counter({**GOOD, **change}))
    assert missed == ([] if bar is None else [bar])
