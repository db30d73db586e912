"""Drift by permutation: statistics and p-values against scipy and scikit-learn, dealing against what it must keep, the
sampled rows against md5 by hand, and the table against dbt, a kill and changed data."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import date, timedelta
from typing import Any

import harness
import numpy as np
import pandas as pd
import pytest
import scripts_runner
import yaml
from scipy.stats import gamma, ks_2samp, permutation_test, wasserstein_distance
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import KernelCenterer, StandardScaler

import _two_samples as ts  # isort: skip - found once scripts_runner has said where
import drift  # isort: skip

GOLDEN = json.loads((harness.ROOT / "tests/python/fixtures/golden/drift_statistics.json").read_text())
COLUMNS = [
    *("monitor_name", "feature_name", "window_start", "method", "statistic", "p_value", "permutations"),
    *("is_tail_fitted", "reference_rows", "window_rows", "reference_units", "window_units", "is_complete"),
    *("data_hash", "seed"),
]
MODELS = [
    *("numbers", "int_drift_spans", "int_drift_windows", "int_drift_window_days", "int_drift_samples"),
    "drift_permutations",
]


def alone(reference: np.ndarray, window: np.ndarray) -> tuple[np.ndarray, ts.Blocks]:
    """Two samples in which every row is a unit."""
    values = np.concatenate([reference, window])
    periods = np.repeat([0, -1], [len(reference), len(window)])
    return values, ts.Blocks(np.arange(len(values)), periods)


# Statistics.


@pytest.mark.parametrize("case", GOLDEN["numeric"], ids=lambda case: case["case"])
def test_statistics_of_numbers_are_the_golden_ones(case: dict[str, Any]) -> None:
    values, blocks = alone(np.array(case["reference"]), np.array(case["current"]))
    found = ts.compare_numbers(values, blocks, ts.Limits(19, 19), np.random.default_rng(1))
    want = {name: case[name] for name in ("ks", "wasserstein", "psi") if case[name] is not None}
    assert {name: test.statistic for name, test in found.items()} == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize("case", GOLDEN["categorical"], ids=lambda case: case["case"])
def test_psi_of_categories_is_the_golden_one(case: dict[str, Any]) -> None:
    sides = [np.repeat(case["levels"], case[side]) for side in ("ref_counts", "cur_counts")]
    values, blocks = alone(*sides)
    found = ts.compare_categories(values, blocks, ts.Limits(19, 19), np.random.default_rng(1))
    assert found["psi"].statistic == pytest.approx(case["psi"], abs=1e-9)


def test_many_distinct_values_keep_their_statistics() -> None:
    """Permutations compare quantiles of them; what is stored does not."""
    rng = np.random.default_rng(2)
    reference, window = rng.normal(size=3 * ts.MOST_POINTS), rng.normal(0.05, 1.1, size=ts.MOST_POINTS)
    values, blocks = alone(reference, window)
    found = ts.compare_numbers(values, blocks, ts.Limits(99, 99), rng)
    assert found["ks"].statistic == pytest.approx(ks_2samp(reference, window).statistic, abs=1e-12)
    distance = wasserstein_distance(reference, window) / reference.std()
    assert found["wasserstein"].statistic == pytest.approx(distance, abs=1e-12)


# P-values.


@pytest.mark.parametrize("is_matched", [True, False])
def test_p_values_are_scipys_where_every_unit_has_one_row(is_matched: bool) -> None:
    rng = np.random.default_rng(3)
    reference, window = np.array([0.0, 1, 1, 2, 2, 3, 4]), np.array([2.0, 3, 3, 4, 6])
    values, blocks = alone(reference, window)
    blocks.is_matched = is_matched
    found = ts.compare_numbers(values, blocks, ts.Limits(19_999, 19_999), rng)
    statistics = {
        "ks": lambda x, y: ks_2samp(x, y).statistic,
        "wasserstein": lambda x, y: wasserstein_distance(x, y) / x.std(),
    }
    for name, statistic in statistics.items():
        exact = permutation_test((reference, window), statistic, alternative="greater", n_resamples=np.inf).pvalue
        error = 4 * math.sqrt(exact * (1 - exact) / 19_999)
        assert 0.01 < exact < 0.5
        assert found[name].p_value == pytest.approx(exact, abs=error), name


def test_ties_make_the_formula_of_sql_too_careful() -> None:
    """Of integers, Stephens' formula gives a p-value several times the permutations'."""
    rng = np.random.default_rng(4)
    reference, window = rng.poisson(1, size=200).astype(float), rng.poisson(1.35, size=150).astype(float)
    values, blocks = alone(reference, window)
    found = ts.compare_numbers(values, blocks, ts.Limits(4999, 4999), rng)["ks"]
    root = math.sqrt(200 * 150 / 350)
    at = (root + 0.12 + 0.11 / root) * found.statistic
    stephens = 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * at) ** 2) for k in range(1, 101))
    assert stephens > 2 * found.p_value > 2 / 5000


def test_permutations_stop_when_enough_and_p_values_stay_valid() -> None:
    rng = np.random.default_rng(5)
    limits = ts.Limits(least=99, most=1999)
    found = [
        ts.permute(rng.normal(size=1), lambda count: rng.normal(size=(count, 1)), limits, batch=150)[0]
        for _ in range(3000)
    ]
    p_values = np.array([outcome.p_value for outcome in found])
    for level in (0.003, 0.01, 0.05, 0.2, 0.5):
        assert (p_values <= level).mean() <= level + 4 * math.sqrt(level * (1 - level) / 3000)
        assert (p_values <= level).mean() >= level / 2 - 4 * math.sqrt(level * (1 - level) / 3000)
    for outcome in found:
        exceedances = round(outcome.p_value * (1 + outcome.permutations)) - 1
        if 99 < outcome.permutations < 1999:
            assert exceedances == ts.ENOUGH_EXCEEDANCES
        elif outcome.permutations == 1999:
            assert exceedances <= ts.ENOUGH_EXCEEDANCES
        else:
            assert exceedances >= ts.ENOUGH_EXCEEDANCES


def test_fitted_tails_are_those_of_the_distribution() -> None:
    """Kernel statistics are sums of chi-squares: a gamma distribution's far tail from 9,999 draws."""
    rng = np.random.default_rng(6)
    for shape in (0.7, 3.0, 50.0):
        target = gamma.isf(1e-5, shape)
        outcome = ts.permute([target], lambda count, a=shape: rng.gamma(a, size=(count, 1)), ts.Limits(), 999, True)[0]
        assert outcome.is_tail_fitted
        assert outcome.permutations == 9999
        assert 1e-5 / 2.5 < outcome.p_value < 1e-5 * 2.5


# Dealing.


def test_dealing_keeps_what_units_look_like() -> None:
    rng = np.random.default_rng(7)
    pairs = np.array([(unit, period) for unit in range(12) for period in range(-1, unit % 4)])
    pairs = pairs[(pairs[:, 1] >= 0) | (pairs[:, 0] % 3 > 0)]
    blocks = ts.Blocks(pairs[:, 0], pairs[:, 1])
    dealt = blocks.deal(4000, rng).toarray()
    units = np.unique(pairs[:, 0])
    of_unit = np.stack([dealt[:, blocks.unit_of_block == number].sum(axis=1) for number in range(len(units))], axis=1)
    assert set(np.unique(of_unit)) == {0, 1}
    for size in np.unique(blocks.sizes):
        same = blocks.sizes == size
        assert (of_unit[:, same].sum(axis=1) == blocks.window_blocks[same].sum()).all()
        # Every block is as likely as every other of a unit with as many.
        share = dealt.mean(axis=0)[np.repeat(same, blocks.sizes)]
        assert share == pytest.approx(blocks.window_blocks[same].sum() / (same.sum() * size), abs=0.04)


def test_dealt_profiles_keep_weights_and_leave_no_block_on_both_sides() -> None:
    rng = np.random.default_rng(8)
    pairs = [(unit, period) for unit in range(5) for period in range(unit + 1)] + [(unit, -1) for unit in (4, 5, 6)]
    blocks = ts.Blocks(*np.array(pairs).T, is_matched=False)
    window, reference = blocks.deal_profiles(500, rng)
    window = window.toarray()
    assert (window.sum(axis=1) == blocks.window_blocks.sum()).all()
    assert reference.sum(axis=1) == pytest.approx(np.full(500, blocks.reference_blocks.sum()))
    assert not ((window > 0) & (reference > 0) & (blocks.sizes[blocks.unit_of_block] > 1)).any()


def clustered(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """No drift: 60 users with a level of their own, active on some of 8 days, several rows on each."""
    active = rng.random((9, 60)) < rng.beta(1, 2, size=60)
    day, unit = np.nonzero(active)
    each = 1 + rng.poisson(2, size=len(day))
    level = rng.normal(size=60)[unit] + 0.5 * rng.normal(size=len(day))
    values = np.repeat(level, each) + 0.5 * rng.normal(size=each.sum())
    return values, np.repeat(unit, each), np.repeat(np.where(day == 8, -1, day), each)


def test_users_who_come_and_go_are_not_matched() -> None:
    rng = np.random.default_rng(15)
    day, regular = np.nonzero(rng.random((9, 300)) < rng.beta(1, 2, size=300))
    assert ts.Blocks(regular, np.where(day == 8, -1, day)).is_regular()
    first = rng.integers(-2, 9, size=900)
    days = np.arange(9)[:, None]
    day, passing = np.nonzero((rng.random((9, 900)) < 0.8) & (days >= first) & (days < first + 3))
    assert not ts.Blocks(passing, np.where(day == 8, -1, day)).is_regular()
    assert not ts.matched_if_regular(passing, np.where(day == 8, -1, day)).is_matched


def test_users_with_several_rows_raise_no_false_alarm() -> None:
    by_unit, by_row = [], []
    limits = ts.Limits(99, 99)
    for seed in range(150):
        rng = np.random.default_rng([9, seed])
        values, units, periods = clustered(rng)
        by_unit.append(ts.compare_numbers(values, ts.Blocks(units, periods), limits, rng)["ks"].p_value)
        rows = ts.Blocks(np.arange(len(units)), periods)
        by_row.append(ts.compare_numbers(values, rows, limits, rng)["ks"].p_value)
    assert np.mean(np.array(by_unit) <= 0.05) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)
    # What it would be if rows were shuffled: the check can fail.
    assert np.mean(np.array(by_row) <= 0.05) > 0.15


# Classifier and kernel.


def test_classifier_is_sklearns_and_folds_hold_whole_units() -> None:
    rng = np.random.default_rng(10)
    units = np.repeat(np.arange(30), 3)
    features = rng.normal(size=(90, 5))
    label = (rng.random(90) < 0.4).astype(float)
    hat, folds = ts.hat_matrix(features, units)
    scaled = StandardScaler().fit_transform(features)
    kernel = KernelCenterer().fit_transform(scaled @ scaled.T / 5)
    won = pairs = 0.0
    for test in folds:
        train = np.setdiff1d(np.arange(90), test)
        assert not set(units[test]) & set(units[train])
        model = KernelRidge(alpha=ts.RIDGE, kernel="precomputed").fit(
            kernel[np.ix_(train, train)], label[train] - label[train].mean()
        )
        scores = model.predict(kernel[np.ix_(test, train)])
        assert hat[test] @ label == pytest.approx(scores, abs=1e-5)
        weight = label[test].sum() * (1 - label[test]).sum()
        won, pairs = won + weight * roc_auc_score(label[test], scores), pairs + weight
    assert ts.areas(hat, folds, label[:, None])[0] == pytest.approx(won / pairs, abs=1e-6)


def test_mmd_is_the_distance_of_kernel_means() -> None:
    rng = np.random.default_rng(11)
    features = rng.normal(size=(60, 3))
    blocks = ts.Blocks(np.arange(60) // 2, np.where(np.arange(60) // 2 % 2, 0, -1))
    found = ts.compare_features(features, blocks, ts.Limits(19, 19, 19), rng)["mmd"]
    is_window = blocks.window_of_row
    kernel = rbf_kernel(features, gamma=ts.median_gamma(features))
    want = (
        kernel[np.ix_(is_window, is_window)].mean()
        + kernel[np.ix_(~is_window, ~is_window)].mean()
        - 2 * kernel[np.ix_(is_window, ~is_window)].mean()
    )
    assert found.statistic == pytest.approx(want, abs=1e-12)


def test_texts_without_a_word_are_no_drift() -> None:
    blocks = ts.Blocks(np.arange(20), np.where(np.arange(20) < 10, 0, -1))
    found = ts.compare_features(ts.text_features(["?!"] * 20), blocks, ts.Limits(19, 19, 19), np.random.default_rng(1))
    assert [test.p_value for test in found.values()] == [1, 1]
    assert ts.compare_features(np.zeros((4, 2)), ts.Blocks([0, 1, 2, 3], [0, 0, -1, -1]), ts.Limits(), None) == {}


def test_words_of_any_script() -> None:
    words = ts.TfidfVectorizer(token_pattern=ts.WORD).fit(["Straße 7b, 你好 world"]).get_feature_names_out()
    assert sorted(words) == sorted(["straße", "7b", "你", "好", "world"])


# The table.

DAYS, FIRST = 8, date(2024, 3, 4)
WINDOWS = [date(2024, 3, 9), date(2024, 3, 10)]
FAST = ["--permutations", "99", "--most-permutations", "999"]
WEATHER, SPORT = ["rain", "sun", "wind", "cloud", "storm", "snow"], ["goal", "team", "match", "ball", "score", "coach"]


def events(shift_on: date | None = date(2024, 3, 10)) -> pd.DataFrame:
    """30 users a day of 45, one or two rows each; on one day texts and vectors are others, the rest is not."""
    rng = np.random.default_rng(12)
    rows = []
    for day in (FIRST + timedelta(days=number) for number in range(DAYS)):
        for user in sorted(rng.choice(45, size=30, replace=False)):
            for _ in range(rng.integers(1, 3)):
                moved = day == shift_on
                vector = rng.normal(size=4) + np.array([2.0 * moved, 0, 0, 0])
                rows.append(
                    {
                        "user_name": f"user {user}",
                        "happened_at": pd.Timestamp(day) + pd.Timedelta(int(rng.integers(86400)), "s"),
                        "amount": float(rng.poisson(3)) if rng.random() < 0.95 else None,
                        "kind": str(rng.choice(["a", "b", "c"])),
                        "said": " ".join(rng.choice(SPORT if moved else WEATHER, size=5)),
                        "vector": json.dumps([round(float(x), 6) for x in vector]),
                    }
                )
    return pd.DataFrame(rows)


TYPES = {"user_name": "text", "happened_at": "timestamp", "amount": "double", "kind": "text", "said": "text"} | {
    "vector": "text"
}
VARIABLES = {
    "inputs": ["exposures", "outcomes"],
    "drift_monitors": [
        {
            "name": "users",
            "relation": "raw.events",
            "time_column": "happened_at",
            "unit_column": "user_name",
            "reference": {"kind": "trailing", "days": 5},
            "features": [
                {"name": "amount", "kind": "numeric"},
                {"name": "kind", "kind": "categorical"},
                {"name": "said", "kind": "text"},
                {"name": "vector", "kind": "embedding"},
            ],
        },
        {
            "name": "loose_rows",
            "relation": "raw.events",
            "time_column": "happened_at",
            "reference": {"kind": "fixed", "start": "2024-03-04", "end": "2024-03-09"},
            "features": [{"name": "amount", "kind": "numeric"}],
        },
        {
            "name": "trained",
            "relation": "raw.events",
            "time_column": "happened_at",
            "unit_column": "user_name",
            "reference": {"kind": "training", "relation": "raw.training"},
            "features": [{"name": "letters", "kind": "text_length", "value": "said"}],
            "window_days": 3,
        },
    ],
}
WORDS = ["--vars", yaml.safe_dump(VARIABLES)]


def table(warehouse: harness.Warehouse) -> pd.DataFrame:
    frame = warehouse.sql(f"select * from {warehouse.mart_schema}.drift_permutations")
    return frame.sort_values(COLUMNS[:4], ignore_index=True)


def load(warehouse: harness.Warehouse, frame: pd.DataFrame) -> None:
    """dbt's views of the table go with it, where it is replaced."""
    warehouse.load("events", frame, types=TYPES)
    warehouse.load("training", frame[frame.happened_at < "2024-03-07"], types=TYPES)
    warehouse.dbt("run", vars=VARIABLES, select=MODELS)


def equal(found: pd.DataFrame, want: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, want, check_exact=True)


def test_the_table_is_filled_resumed_and_kept(warehouse: harness.Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = events()
    words = [*WORDS, *FAST]
    load(warehouse, frame)
    empty = table(warehouse)
    assert list(empty.columns) == COLUMNS
    assert len(empty) == 0

    done = scripts_runner.start("drift.py", warehouse, *words)
    assert done.code == 0, done.err
    full = table(warehouse)
    assert f"{len(full)} rows of drift_permutations written" in done.out
    keys = full[["monitor_name", "feature_name", "window_start", "method"]]
    assert not keys.duplicated().any()
    assert sorted(pd.to_datetime(full[full.monitor_name == "users"].window_start).dt.date.unique()) == WINDOWS

    # What was compared, and how far apart it is.
    day = frame.happened_at.dt.date
    for monitor, start, first in (
        ("users", WINDOWS[1], WINDOWS[1] - timedelta(days=5)),
        ("loose_rows", WINDOWS[1], FIRST),
    ):
        last = start if monitor == "users" else WINDOWS[0]
        reference = frame[(day >= first) & (day < last) & frame.amount.notna()]
        window = frame[(day == start) & frame.amount.notna()]
        rows = full[(full.monitor_name == monitor) & (full.feature_name == "amount")]
        rows = rows[pd.to_datetime(rows.window_start).dt.date == start].set_index("method")
        assert list(rows.index) == ["ks", "psi", "wasserstein"]
        assert (rows.reference_rows == len(reference)).all()
        assert (rows.window_rows == len(window)).all()
        units = {"users": window.user_name.nunique(), "loose_rows": len(window)}[monitor]
        assert (rows.window_units == units).all()
        assert rows.is_complete.all()
        assert rows.statistic["ks"] == pytest.approx(ks_2samp(reference.amount, window.amount).statistic, abs=1e-12)
        distance = wasserstein_distance(reference.amount, window.amount) / reference.amount.std(ddof=0)
        assert rows.statistic["wasserstein"] == pytest.approx(distance, abs=1e-12)
    trained = full[full.monitor_name == "trained"]
    assert (trained.reference_rows == (frame.happened_at < "2024-03-07").sum()).all()
    assert set(trained.feature_name) == {"letters"}

    # The texts and vectors of one day are others, and nothing else is.
    users = full[full.monitor_name == "users"]
    moved = users.feature_name.isin(["said", "vector"]) & (pd.to_datetime(users.window_start).dt.date == WINDOWS[1])
    assert (users[moved].p_value < 1e-3).all()
    assert (users[~moved].p_value > 0.005).all()
    assert moved.sum() == 4

    # Again: nothing to do. Another process, the same numbers.
    again = scripts_runner.call(drift.main, warehouse, *words)
    assert "0 rows of drift_permutations written" in again.out
    equal(table(warehouse), full)
    for command in ("run", "run --full-refresh"):
        warehouse.dbt(command, vars=VARIABLES, select="drift_permutations")
        equal(table(warehouse), full)

    # Killed after the first window: whole windows, and the next run adds the others.
    warehouse.execute(f"delete from {warehouse.mart_schema}.drift_permutations where monitor_name = 'users'")

    class Killed(drift.Warehouse):
        written = 0

        def replace_rows(self, *arguments: Any) -> None:
            if Killed.written:
                raise KeyboardInterrupt
            Killed.written += 1
            super().replace_rows(*arguments)

    import _warehouse

    with monkeypatch.context() as patch:
        patch.setattr(_warehouse, "Warehouse", Killed)
        killed = scripts_runner.call(drift.main, warehouse, *words)
    assert killed.code == 130
    kept = table(warehouse)
    kept = kept[kept.monitor_name == "users"]
    first_window = pd.to_datetime(users.window_start).dt.date == WINDOWS[0]
    equal(kept.reset_index(drop=True), users[first_window].reset_index(drop=True))
    resumed = scripts_runner.call(drift.main, warehouse, *words)
    assert resumed.code == 0
    assert f"{(~first_window).sum()} rows of drift_permutations written" in resumed.out
    equal(table(warehouse), full)

    # A row of the last window changes: it alone is computed again, and only what has changed.
    changed = frame.copy()
    last = changed.index[day == WINDOWS[1]][0]
    changed.loc[last, "amount"] = 50.0
    load(warehouse, changed)
    equal(table(warehouse), full)
    assert scripts_runner.call(drift.main, warehouse, *words, "--monitor", "users").code == 0
    now = table(warehouse)
    differs = (now[COLUMNS] != full[COLUMNS]).any(axis=1)
    assert set(now[differs].feature_name) == {"amount"}
    assert set(pd.to_datetime(now[differs].window_start).dt.date) == {WINDOWS[1]}
    assert set(now[differs].monitor_name) == {"users"}

    other = scripts_runner.call(drift.main, warehouse, *words, "--since", str(WINDOWS[1]), "--seed", "2")
    assert other.code == 0
    seeded = table(warehouse)
    assert ((pd.to_datetime(seeded.window_start).dt.date >= WINDOWS[1]) == (seeded.seed == 2)).all()


def prefix(unit: str) -> str:
    return hashlib.md5(unit.encode()).hexdigest()[:3]


def test_samples_are_whole_groups_of_units(warehouse: harness.Warehouse) -> None:
    rng = np.random.default_rng(13)
    sizes = {date(2024, 3, 4): 300, date(2024, 3, 5): 5000, date(2024, 3, 6): 2000}
    days = np.repeat([pd.Timestamp(day) for day in sizes], list(sizes.values()))
    users = [f"user {number}" for number in rng.integers(900, size=len(days))]
    frame = pd.DataFrame({"user_name": users, "happened_at": days, "amount": rng.integers(3, size=len(days)) * 1.0})
    for column in ("kind", "said", "vector"):
        frame[column] = None
    # A row without a unit stands for itself, also where another is its equal.
    frame.loc[:9, "user_name"] = None
    frame.loc[:9, "amount"] = 1.0
    load(warehouse, frame)
    query = f"select * from {warehouse.mart_schema}.int_drift_samples where monitor_name = '{{}}'"
    found = warehouse.sql(query.format("users"))
    assert set(found.feature_name) == {"amount"}
    loose = found[found.unit_id.str.startswith("row ")]
    assert len(loose) == loose.unit_id.nunique() == 10
    for day, size in sizes.items():
        rows = found[pd.to_datetime(found.row_date).dt.date == day]
        want = frame[frame.happened_at == pd.Timestamp(day)].dropna(subset="user_name")
        groups = want.user_name.map(prefix)
        if size <= 2000:
            assert rows.is_complete.all()
            assert len(rows) == size
            continue
        counts = groups.value_counts().sort_index()
        taken = counts.index[counts.cumsum() - counts < 2000]
        assert 2000 <= len(rows) < 2100
        assert not rows.is_complete.any()
        assert sorted(zip(rows.unit_id, rows.number_value, strict=True)) == sorted(
            zip(want[groups.isin(taken)].user_name, want[groups.isin(taken)].amount, strict=True)
        )
    every = warehouse.sql(query.format("loose_rows"))
    assert (
        every.groupby(pd.to_datetime(every.row_date).dt.date)
        .unit_id.nunique()
        .equals(every.groupby(pd.to_datetime(every.row_date).dt.date).size())
    )
    # A fixed reference is one block, with the dates that its rows had.
    assert set(pd.to_datetime(every.row_date).dt.date) == {FIRST}
    assert set(pd.to_datetime(every.period_date).dt.date) == set(sizes)
    assert len(every) == sum(sizes.values())


def test_unknown_monitors_and_impossible_numbers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    class Fake:
        def relation(self, name: str) -> str:
            return name

        def rows(self, query: str) -> list[dict[str, Any]]:
            return [{"monitor_name": "users"}] if "int_drift_windows" in query else []

    with pytest.raises(drift.WarehouseError, match="no monitor 'nobody' has a window; those that have: users"):
        drift.wanted_windows(Fake(), ["nobody"], None)
    for words in (["--permutations", "5"], ["--seed", "-1"], ["--since", "yesterday"]):
        with pytest.raises(SystemExit) as refused:
            drift.parse(words)
        assert refused.value.code == 2
        assert words[0] in capsys.readouterr().err


def test_nothing_monitored_is_nothing_to_compute(warehouse: harness.Warehouse) -> None:
    variables = {"inputs": ["exposures", "outcomes"]}
    warehouse.dbt("run", vars=variables, select=MODELS)
    done = scripts_runner.call(drift.main, warehouse, "--vars", yaml.safe_dump(variables))
    assert done.code == 0
    assert "nothing to compute" in done.out
    assert len(table(warehouse)) == 0


def test_units_of_busy_days_are_those_of_quiet_ones() -> None:
    """The reference loses the units that the busy window's sample lacks."""

    def day(number: int, last_group: str | None, units: range) -> tuple[date, drift.Day]:
        names = [f"user {unit}" for unit in units if last_group is None or prefix(f"user {unit}") <= last_group]
        rows = [
            {"unit_id": name, "unit_group": prefix(name), "feature_kind": "numeric", "number_value": 1.0}
            | {"period_date": FIRST, "is_complete": last_group is None, "feature_name": "amount"}
            for name in names
        ]
        return FIRST + timedelta(days=number), drift.Day({"amount": drift._part(rows)}, last_group)

    days = dict([day(0, None, range(50)), day(1, "800", range(500))])
    window = drift.Window("m", FIRST + timedelta(days=1), 1, "trailing", None, tuple(days)[1:], tuple(days)[:1])
    found = drift.comparison(window, days, "amount", np.random.default_rng(1))
    assert not found.is_complete
    assert max(prefix(unit) for unit in found.units) <= "800"
    assert (found.periods >= 0).sum() == sum(prefix(f"user {unit}") <= "800" for unit in range(50))


def test_thinning_keeps_whole_blocks_of_some_units() -> None:
    rng = np.random.default_rng(14)
    units = np.array([f"user {number}" for number in rng.integers(800, size=30_000)], dtype=object)
    found = drift.Comparison(units, rng.integers(-1, 28, size=30_000), np.arange(30_000.0), True)
    for is_matched in (True, False):
        few = drift.thinned(found, is_matched)
        assert 500 < len(few.units) < 3100
        assert not few.is_complete
        size = pd.Series(found.units).groupby([found.units, found.periods]).size()
        kept = pd.Series(few.units).groupby([few.units, few.periods]).size()
        assert (size.loc[kept.index] == kept).all()
        if not is_matched:
            assert kept[kept.index.get_level_values(1) >= 0].groupby(level=0).size().max() == 1
