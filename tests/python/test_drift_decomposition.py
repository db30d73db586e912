"""drift_decomposition: did quality change, because other inputs came or because the same inputs got other answers?

Numbers are checked against the definitions in pandas. Variances are checked without formulas for them: the influence of
a group of units on a part is that part's numerical derivative by the group's weight.
"""

from __future__ import annotations

import hashlib
from typing import Any

import harness
import numpy as np
import pandas as pd
import pytest
from scipy import stats

DAY = pd.Timedelta(days=1)
START = pd.Timestamp("2024-03-04")  # a Monday
PARTS = ["change", "mix", "within_slices", "uncovered"]
KEY = ["monitor_name", "measure_name", "window_start", "segment_name", "segment_value", "slice"]


def settings(*monitors: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"raw_schema": "raw", "inputs": ["exposures"], "metrics": [], "drift_monitors": list(monitors), **more}


def monitor(name: str, *measures: dict[str, Any], **more: Any) -> dict[str, Any]:
    given = {"relation": "raw.answers", "time_column": "row_at", "unit_column": "unit_id", "slices": ["topic"], **more}
    return {"name": name, "performance": list(measures), **given}


def measure(name: str = "score", value: str = "score", **more: Any) -> dict[str, Any]:
    return {"name": name, "value": value, **more}


def decompose(warehouse: harness.Warehouse, variables: dict[str, Any]) -> pd.DataFrame:
    """The mart, after what must hold for every row of it."""
    warehouse.dbt("run", vars=variables, select="+drift_decomposition")
    mart = warehouse.mart("drift_decomposition")
    assert not mart.duplicated(KEY).any()
    whole = mart[mart["slice"] == "all"]
    assert (whole["status"].eq("ok") == whole["status_reason"].isna()).all()
    numbers = [f"{part}{end}" for part in PARTS for end in ("", "_ci_lower", "_ci_upper", "_p_value")]
    numbers += ["reference_value", "window_value", "margin"]
    assert mart.loc[mart[numbers].isna().any(axis=1), "status_reason"].notna().all()
    # The parts add up, and so do the slices, lost and new ones included.
    scale = whole[["reference_value", "window_value"]].abs().max(axis=1)
    gap = (whole["change"] - whole["mix"] - whole["within_slices"] - whole["uncovered"]).abs()
    assert (gap.dropna() <= 1e-12 * (1 + scale[gap.notna()])).all()
    levels = (whole["change"] - (whole["window_value"] - whole["reference_value"])).abs()
    assert (levels.dropna() <= 1e-12 * (1 + scale[levels.notna()])).all()
    slices = mart[mart["slice"] != "all"].groupby(KEY[:-1])[[*PARTS, "reference_rows", "window_rows"]].sum(min_count=1)
    both = whole.set_index(KEY[:-1]).join(slices.add_suffix("_of_slices"))
    for name in [*PARTS, "reference_rows", "window_rows"]:
        known = both[both["mix"].notna()]
        gap = (known[name] - known[f"{name}_of_slices"]).abs()
        assert (gap <= 1e-12 * (1 + known[["reference_value", "window_value"]].abs().max(axis=1))).all()
    return mart


def everyone(mart: pd.DataFrame) -> pd.DataFrame:
    return mart[(mart["slice"] == "all") & (mart["segment_name"] == "all")].sort_values(KEY).reset_index(drop=True)


# The definitions, of sums by slice: y and w before and after.


def parts_of(sums: np.ndarray) -> np.ndarray:
    """change, mix, within and uncovered of sums[side, y or w, slice]; side 0 is the reference."""
    (y0, w0), (y1, w1) = sums
    p, q = w0 / w0.sum(), w1 / w1.sum()
    a, b = (np.divide(y, w, out=np.zeros_like(y), where=w > 0) for y, w in ((y0, w0), (y1, w1)))
    shared, new = (p > 0) & (q > 0), (q > 0) & (p == 0)
    covered = q[shared].sum()
    r = q[shared] / covered
    mix = r @ a[shared] - p @ a
    within = r @ (b - a)[shared]
    uncovered = (1 - covered) * (q[new] @ b[new] / q[new].sum() - r @ b[shared]) if new.any() else 0.0
    return np.array([q @ b - p @ a, mix, within, uncovered])


def sums_of(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Of rows with is_reference, slice, group, y and w: sums[group, side, y or w, slice], and who is on which side."""
    group, names = pd.factorize(rows["group"])
    part, slices = pd.factorize(rows["slice"])
    side = np.where(rows["is_reference"], 0, 1)
    sums = np.zeros((len(names), 2, 2, len(slices)))
    for position, column in enumerate(["y", "w"]):
        np.add.at(sums, (group, side, position, part), rows[column].to_numpy())
    present = np.zeros((2, len(names)), dtype=bool)
    present[side, group] = True
    return sums, present


def inference_of(rows: pd.DataFrame, spread: float | None = None) -> pd.DataFrame:
    """Of each part: estimate, interval and p-value, with the influence of each group found by moving its weight.

    `spread`: over how many groups the window's variance is spread, else from the influences.
    """
    sums, present = sums_of(rows)
    total = sums.sum(axis=0)
    sizes = present.sum(axis=1)
    influence = np.zeros((2, len(sums), 4))
    step = 1e-4
    for side in (0, 1):
        for group in np.flatnonzero(present[side]):
            moved = np.zeros_like(total)
            moved[side] = step * sums[group, side]
            influence[side, group] = (parts_of(total + moved) - parts_of(total - moved)) / (2 * step)
        influence[side] *= np.sqrt(sizes[side] / (sizes[side] - 1))
    reference, window = (influence**2).sum(axis=1)
    shares = influence[1, :, 0] ** 2 / (influence[1, :, 0] ** 2).sum()
    before, after = rows[rows["is_reference"]], rows[~rows["is_reference"]]
    level = before["y"].sum() / before["w"].sum()
    squares = ((before["y"] - level * before["w"]) ** 2).mean()
    spread = 1 / (shares**2).sum() if spread is None else spread
    unseen = squares * len(after) / after["w"].sum() ** 2 / (1 + spread) ** 2 * np.array([1, 0, 1, 0])
    error = np.sqrt((influence.sum(axis=0) ** 2).sum(axis=0) + unseen)
    window = window + unseen
    result = []
    for name, estimate, error_, v0, v1 in zip(PARTS, parts_of(total), error, reference, window, strict=True):
        if error_ < 1e-10:
            result.append((name, estimate, 0.0, 1.0))
            continue
        share = v0 / (v0 + v1)
        dof = min(1 / (share**2 / (sizes[0] - 1) + (1 - share) ** 2 / (sizes[1] - 1)), len(sums) - 1)
        p = 2 * stats.t.sf(abs(estimate) / error_, dof)
        result.append((name, estimate, stats.t.isf(0.025, dof) * error_, p))
    frame = pd.DataFrame(result, columns=["part", "estimate", "half", "p"]).set_index("part")
    return frame.assign(margin=0.1 * np.sqrt(squares) / before["w"].mean())


def group_of(unit: str) -> str:
    """One of 64: the first six bits of the hash."""
    return str(hashlib.md5(unit.encode()).digest()[0] // 4)


def messy(days: int = 24, seed: int = 5) -> pd.DataFrame:
    """Answers with two slicing columns, slices that come and go, values that are missing or not numbers."""
    generator = np.random.default_rng(seed)
    n = 90 * days
    day = np.repeat(np.arange(days), 90)
    unit = generator.integers(0, 45, n)
    late = np.clip(day - days / 2, 0, None) / days
    topic = np.where(generator.random(n) < 0.3 + late, "code", np.where(generator.random(n) < 0.5, "chat", "mail"))
    topic = np.where((day >= 17) & (generator.random(n) < 0.2), "new", topic)
    topic = np.where((day < 8) & (generator.random(n) < 0.15), "lost", topic)
    language = generator.choice(["en", "de", None, " "], n, p=[0.6, 0.3, 0.06, 0.04])
    base = pd.Series(topic).map({"code": 0.2, "chat": 0.7, "mail": 0.5, "new": 0.1, "lost": 0.9}).to_numpy()
    score = base + 0.3 * generator.normal(size=45)[unit] + 0.5 * generator.normal(size=n) - late
    tokens = 1 + generator.poisson(3 + 2 * (topic == "code"), n).astype(float)
    frame = pd.DataFrame(
        {
            "row_at": START + day * DAY + pd.to_timedelta(generator.integers(0, 86_400, n), "s"),
            "unit_id": [f"unit {i}" for i in unit],
            "topic": topic,
            "language": language,
            "score": np.where(generator.random(n) < 0.1, np.nan, score),
            "errors": generator.binomial(tokens.astype(int), np.clip(0.2 + late, 0, 1)).astype(float),
            "tokens": np.where(generator.random(n) < 0.05, np.nan, tokens),
            "country": generator.choice(["fr", "it", None], n, p=[0.5, 0.4, 0.1]),
        }
    )
    frame.loc[frame.index[5::400], "score"] = np.inf
    return frame.sample(frac=1, random_state=1).reset_index(drop=True)


KINDS: dict[str, dict[str, Any]] = {
    "trailing": {"reference": {"kind": "trailing", "days": 6}},
    "two_days": {"reference": {"kind": "trailing", "days": 5}, "window_days": 2},
    "weekday": {"reference": {"kind": "same_weekday", "weeks": 2}, "window_days": 2},
    "fixed": {"reference": {"kind": "fixed", "start": "2024-03-05", "end": "2024-03-12"}},
    "training": {"reference": {"kind": "training", "relation": "raw.training"}, "window_days": 7},
}


def reference_days(kind: str, start: pd.Timestamp) -> list[pd.Timestamp]:
    length = {"two_days": 2, "weekday": 2, "training": 7}.get(kind, 1)
    if kind == "weekday":
        return [start + (i - 7 * week) * DAY for i in range(length) for week in (1, 2)]
    if kind == "fixed":
        return list(pd.date_range("2024-03-05", "2024-03-11"))
    return [start - i * DAY for i in range(1, {"trailing": 6, "two_days": 5}[kind] + 1)]


def test_values_parts_and_intervals_are_the_definitions(warehouse: harness.Warehouse) -> None:
    answers = messy()
    training = messy(6, seed=9)
    warehouse.load("answers", answers)
    warehouse.load("training", training)
    measures = [measure(), measure("error_rate", "errors", denominator="tokens", direction="decrease")]
    shared = {"slices": ["topic", "language"], "segments": ["country"]}
    monitors = [monitor(kind, *measures, **shared, **given) for kind, given in KINDS.items()]
    mart = decompose(warehouse, settings(*monitors))
    windows = warehouse.sql(f"select * from {warehouse.mart_schema}.int_drift_windows")
    tested = 0
    for kind in KINDS:
        starts = windows.loc[windows["monitor_name"] == kind, "window_start"].sort_values()
        assert len(starts) >= 2
        # The last window of each kind has the new slice, one in the middle lacks the one that went.
        for start in {starts.iloc[-1], starts.iloc[len(starts) // 3]}:
            length = {"two_days": 2, "weekday": 2, "training": 7}.get(kind, 1)
            day = answers["row_at"].dt.normalize()
            after = answers[day.isin([start + i * DAY for i in range(length)])]
            before = training if kind == "training" else answers[day.isin(reference_days(kind, start))]
            rows = pd.concat([before.assign(is_reference=True), after.assign(is_reference=False)])
            rows["slice"] = (
                "topic="
                + rows["topic"]
                + ", language="
                + rows["language"].str.strip().replace("", None).fillna("(missing)")
            )
            rows["group"] = rows["unit_id"].map(group_of)
            for name, value, weight in [("score", "score", None), ("error_rate", "errors", "tokens")]:
                known = rows.assign(y=rows[value].replace(np.inf, np.nan), w=1.0 if weight is None else rows[weight])
                known = known[known["y"].notna() & known["w"].notna()]
                for label in ["all", "fr", "(missing)"]:
                    part = known
                    if label != "all":
                        part = known[known["country"].fillna("(missing)") == label]
                    found = mart[
                        (mart["monitor_name"] == kind)
                        & (mart["measure_name"] == name)
                        & (mart["window_start"] == start)
                        & (mart["segment_value"] == label)
                    ].set_index("slice")
                    ours = found.loc["all"]
                    assert ours["reference_rows"] == part["is_reference"].sum()
                    assert ours["window_rows"] == (~part["is_reference"]).sum()
                    if (part.groupby("is_reference")["group"].nunique() < 10).any():
                        assert ours["status_reason"] == "too_few_units"
                        continue
                    expected = inference_of(part)
                    assert ours["margin"] == pytest.approx(expected["margin"].iloc[0], rel=1e-9)
                    for piece, row in expected.iterrows():
                        assert ours[piece] == pytest.approx(row["estimate"], rel=1e-9, abs=1e-12)
                        half = (ours[f"{piece}_ci_upper"] - ours[f"{piece}_ci_lower"]) / 2
                        assert half == pytest.approx(row["half"], rel=2e-6, abs=1e-12), (kind, name, piece)
                        assert ours[f"{piece}_p_value"] == pytest.approx(row["p"], rel=1e-4, abs=1e-9)
                    assert ours["direction"] == ("increase" if name == "score" else "decrease")
                    assert ours["status"] == "ok"
                    tested += 1
    assert tested >= 20
    reasons = set(mart["status_reason"].dropna())
    assert {"slice_not_in_window", "slice_not_in_reference", "part_of_a_sum"} <= reasons


def test_rows_without_units_stand_for_themselves(warehouse: harness.Warehouse) -> None:
    answers = messy(10)
    # A mean of a billion keeps the digits of what varies around it.
    answers["far"] = 1e9 + answers["score"].replace(np.inf, np.nan)
    answers["hit"] = (answers["score"] > 0.9).astype(float)
    warehouse.load("answers", answers)
    fixed = {"kind": "fixed", "start": "2024-03-04", "end": "2024-03-09"}
    measures = [
        measure(),
        measure("far", "far"),
        measure("hit", "hit"),
        measure("rate", "errors", denominator="tokens"),
    ]
    plain = monitor("plain", *measures, unit_column=None, reference=fixed)
    # Without slices there is no mix. A row without a unit is no cluster of all such rows.
    clustered = monitor("clustered", measure(), slices=[], reference=fixed)
    answers.loc[::3, "unit_id"] = None
    warehouse.load("answers", answers)
    mart = everyone(decompose(warehouse, settings(plain, clustered)))
    after = answers[answers["row_at"].dt.normalize() == START + 6 * DAY]
    before = answers[answers["row_at"] < START + 5 * DAY]
    rows = pd.concat([before.assign(is_reference=True), after.assign(is_reference=False)], ignore_index=True)
    rows["slice"], rows["group"] = rows["topic"], rows.index.astype(str)
    ours = mart[mart["window_start"] == START + 6 * DAY].set_index(["monitor_name", "measure_name"])
    for name, value, weight in [("score", "score", None), ("hit", "hit", None), ("rate", "errors", "tokens")]:
        known = rows.assign(y=rows[value].replace(np.inf, np.nan), w=1.0 if weight is None else rows[weight])
        known = known[known["y"].notna() & known["w"].notna()]
        nonzero = (known.loc[~known["is_reference"], "y"] != 0).sum()
        row = ours.loc[("plain", name)]
        for part, expected in inference_of(known, spread=nonzero).iterrows():
            half = (row[f"{part}_ci_upper"] - row[f"{part}_ci_lower"]) / 2
            assert row[part] == pytest.approx(expected["estimate"], rel=1e-9, abs=1e-12)
            assert half == pytest.approx(expected["half"], rel=2e-6, abs=1e-12), (name, part)
            assert row[f"{part}_p_value"] == pytest.approx(expected["p"], rel=1e-4)
    near, far = ours.loc[("plain", "score")], ours.loc[("plain", "far")]
    for column in [*PARTS, "change_ci_lower", "mix_ci_lower", "within_slices_ci_lower"]:
        assert far[column] == pytest.approx(near[column], abs=5e-7)  # 1e9 itself has no more digits
    assert far["within_slices_p_value"] == pytest.approx(near["within_slices_p_value"], rel=1e-4)
    row = ours.loc[("clustered", "score")]
    assert (row["mix"], row["uncovered"], row["mix_p_value"]) == (0, 0, 1)
    assert (row["mix_ci_lower"], row["mix_ci_upper"]) == (0, 0)
    assert row["within_slices"] == row["change"]
    # A third of the rows in one cluster would have made the interval several times as wide.
    width = row["change_ci_upper"] - row["change_ci_lower"]
    plain_width = near["change_ci_upper"] - near["change_ci_lower"]
    assert 0.8 * plain_width < width < 2 * plain_width


# Coverage. Every segment is a world, so that one run of dbt holds all of them.

WORLDS = 800
TOPICS = np.array(["a", "b", "c", "new", "lost"])
BEFORE, AFTER = np.array([0.5, 0.3, 0.1, 0, 0.1]), np.array([0.3, 0.35, 0.2, 0.15, 0])
SCORE_BEFORE, SCORE_AFTER = np.array([0.3, 0.5, 0.7, 0, 0.9]), np.array([0.3, 0.4, 0.65, 0.1, 0])


def world_rows(setup: str, generator: np.random.Generator, units: int = 60, rows_each: int = 5) -> pd.DataFrame:
    """Two days of 800 worlds: the first is the reference."""
    shape = (WORLDS, units, rows_each)
    effect = generator.normal(size=(WORLDS, units, 1))
    frames = []
    for day, (shares, scores) in enumerate([(BEFORE, SCORE_BEFORE), (AFTER, SCORE_AFTER)]):
        if setup == "other_units" and day == 1:
            effect = generator.normal(size=(WORLDS, units, 1))
        topic = generator.choice(len(TOPICS), shape, p=shares)
        weight = 1.0 + generator.poisson(2, shape) * (setup == "ratio")
        if setup == "rows":
            value = (generator.random(shape) < scores[topic]).astype(float)
        else:
            value = weight * (scores[topic] + 0.3 * effect) + 0.4 * generator.normal(size=shape)
        world, unit, _ = np.indices(shape)
        frames.append(
            pd.DataFrame(
                {
                    "row_at": START + day * DAY,
                    "world": np.char.add("world ", world.ravel().astype(str)),
                    "unit_id": [
                        f"{w}-{u + units * day * (setup == 'other_units')}"
                        for w, u in zip(world.ravel(), unit.ravel(), strict=True)
                    ],
                    "topic": TOPICS[topic.ravel()],
                    "value": value.ravel(),
                    "weight": weight.ravel(),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def test_intervals_cover_known_parts(warehouse_factory: Any) -> None:
    warehouse = warehouse_factory("duckdb")
    generator = np.random.default_rng(2024)
    setups = ["same_units", "other_units", "rows", "ratio"]
    monitors = []
    for setup in setups:
        warehouse.load(setup, world_rows(setup, generator))
        score = measure("score", "value", **({"denominator": "weight"} if setup == "ratio" else {}))
        given = {
            "relation": f"raw.{setup}",
            "segments": ["world"],
            "unit_column": None if setup == "rows" else "unit_id",
        }
        reference = {"kind": "fixed", "start": "2024-03-04", "end": "2024-03-05"}
        monitors.append(monitor(setup, score, reference=reference, **given))
    mart = decompose(warehouse, settings(*monitors, analysis={"as_of": "2024-03-06"}))
    warehouse.close()
    truth = parts_of(np.array([[BEFORE * SCORE_BEFORE, BEFORE], [AFTER * SCORE_AFTER, AFTER]]))
    worlds = mart[(mart["slice"] == "all") & (mart["segment_name"] == "world")]
    for setup in setups:
        ours = worlds[worlds["monitor_name"] == setup]
        assert len(ours) == WORLDS and ours["status"].eq("ok").all()
        for part, value in zip(PARTS, truth, strict=True):
            covered = (ours[f"{part}_ci_lower"] <= value) & (value <= ours[f"{part}_ci_upper"])
            assert 0.93 <= covered.mean() <= 0.97, (setup, part, covered.mean())
            error = ours[part].std() / np.sqrt(WORLDS)
            assert abs(ours[part].mean() - value) < 4 * error, (setup, part)
        inside = (ours["change_ci_lower"] > 0) | (ours["change_ci_upper"] < 0)
        assert (inside == (ours["change_p_value"] < 0.05)).all()


# Labels that come later.


def slow_labels(days: int = 40) -> pd.DataFrame:
    """Nothing changes, but bad answers are labelled sooner than good ones."""
    generator = np.random.default_rng(11)
    n = 300 * days
    row_at = START + pd.to_timedelta(generator.integers(0, 86_400 * days, n), "s")
    good = generator.random(n) < 0.7
    lag = generator.gamma(2, np.where(good, 40, 15), n)
    return pd.DataFrame(
        {
            "row_at": row_at,
            "unit_id": [f"unit {i}" for i in generator.integers(0, 200, n)],
            "topic": generator.choice(["a", "b"], n),
            "country": generator.choice(["fr", "it"], n),
            "score": np.where(generator.random(n) < 0.95, good.astype(float), np.nan),
            "labelled_at": row_at + pd.to_timedelta(np.round(3600 * lag), "s"),
        }
    ).sort_values("row_at", ignore_index=True)


def known_until(rows: pd.DataFrame, until: pd.Timestamp) -> pd.DataFrame:
    known = rows[rows["row_at"] <= until].copy()
    known.loc[known["labelled_at"] > until, ["score", "labelled_at"]] = None
    return known


def test_a_window_is_published_once_its_labels_are_in(warehouse: harness.Warehouse) -> None:
    rows = slow_labels()
    labelled = monitor(
        "answers",
        measure(labelled_at_column="labelled_at"),
        measure("unlabelled", "score"),
        reference={"kind": "trailing", "days": 8},
        segments=["country"],
    )
    published = []
    for until in [START + 22 * DAY + pd.Timedelta(hours=5), START + 30 * DAY]:
        warehouse.load("answers", known_until(rows, until))
        mart = decompose(warehouse, settings(labelled))
        ours = mart[(mart["measure_name"] == "score") & (mart["status_reason"] != "labels_not_in")]
        assert ours.loc[ours["slice"] == "all", "status"].eq("ok").all()
        published.append(ours.set_index(KEY).sort_index().drop(columns="labels_complete_to"))
    assert 6 <= published[0].index.get_level_values("window_start").nunique() < 22 - 8
    pd.testing.assert_frame_equal(published[0], published[1].loc[published[0].index], check_exact=False, rtol=1e-12)
    waiting = everyone(mart[(mart["measure_name"] == "score") & (mart["status_reason"] == "labels_not_in")])
    assert (waiting["window_end"] > waiting["labels_complete_to"]).all() and len(waiting) > 2
    # The same from all rows, told what the time was.
    warehouse.load("answers", rows)
    warehouse.dbt("run", vars=settings(labelled, analysis={"as_of": "2024-04-03"}), select="+drift_decomposition")
    again = warehouse.mart("drift_decomposition").set_index(KEY).sort_index()
    pd.testing.assert_frame_equal(
        again.loc[published[1].index, published[1].columns], published[1], check_exact=False, rtol=1e-12
    )
    # Both sides are given the same time, in which nine in ten labels come; what does not change does not seem to.
    horizons = warehouse.sql(f"select * from {warehouse.mart_schema}.int_drift_label_horizons").set_index(
        "window_start"
    )
    whole = everyone(published[1].reset_index()).set_index("window_start")
    lag = (rows["labelled_at"] - rows["row_at"]) / pd.Timedelta(hours=1)
    assert horizons.loc[whole.index, "horizon_hours"].isin([24 * day for day in range(1, 15)]).all()
    for start, row in whole.iterrows():
        hours = horizons.loc[start, "horizon_hours"]
        inside = rows["score"].notna() & (lag <= hours)
        window = rows["row_at"].between(start, start + DAY, inclusive="left")
        reference = rows["row_at"].between(start - 8 * DAY, start, inclusive="left")
        assert row["window_value"] == pytest.approx(rows.loc[window & inside, "score"].mean())
        assert row["reference_value"] == pytest.approx(rows.loc[reference & inside, "score"].mean())
        assert row["labelled_share"] == pytest.approx(inside[window].mean())
        assert row["label_lag_p50_hours"] == pytest.approx(lag[window & inside].quantile(0.5))
        assert row["label_lag_p90_hours"] == pytest.approx(lag[window & inside].quantile(0.9))
        closed = start + DAY + hours * pd.Timedelta(hours=1)
        blocks = rows["row_at"].dt.normalize()[reference & rows["score"].notna()]
        seen = lag[blocks.index] <= hours + (start - blocks) / pd.Timedelta(hours=1)
        assert (lag[blocks.index] <= hours).sum() >= 0.9 * seen.sum()
        assert closed <= START + 30 * DAY
    assert (whole["change_p_value"] < 0.05).mean() < 0.25
    late = everyone(mart[mart["measure_name"] == "unlabelled"])
    # Had the newest window been read at once, it would have shown a loss that is none.
    assert late["change"].iloc[-1] < -0.1 and late["change_p_value"].iloc[-1] < 1e-3
    assert late[["labelled_share", "label_lag_p50_hours", "labels_complete_to"]].isna().all().all()


# Edges.


def test_edges_have_a_row_and_a_reason(warehouse: harness.Warehouse) -> None:
    hour = pd.Timedelta(hours=1)

    def day(number: int, n: int = 40, **columns: Any) -> pd.DataFrame:
        base = {
            "row_at": START + number * DAY + hour,
            "unit_id": [f"u{i}" for i in range(n)],
            "topic": "a",
            "score": 0.0,
        }
        return pd.DataFrame({**base, "units": 1.0, **columns}, index=range(n))

    answers = pd.concat(
        [
            day(0, score=[0.0, 1.0] * 20),
            day(1, score=np.nan),  # nothing known
            day(2, topic="b"),  # no slice in common
            day(3, n=5),  # few units
            day(4, score=[0.0, 1.0] * 20, units=0.0),  # nothing to divide by
            day(6),  # after a day without rows: never a hit
            day(7),
            day(8, score=1.0),  # always one
            day(9, topic="b", score=1.0),
            day(10, score=1e300),  # no number that sums can hold
            day(11, topic=None),
        ]
    )
    warehouse.load("answers", answers)
    short = {"reference": {"kind": "trailing", "days": 1}}
    measures = [measure(), measure("rate", "score", denominator="units")]
    monitors = [monitor("units", *measures, **short), monitor("rows", *measures, unit_column=None, **short)]
    mart = decompose(warehouse, settings(*monitors, analysis={"as_of": "2024-03-16"}))
    whole = everyone(mart).set_index(["monitor_name", "measure_name", "window_start"])
    expected = {
        1: "no_window_rows",
        2: "no_reference",
        3: "too_few_units",
        4: "too_few_units",
        5: "no_window_rows",
        6: "no_reference",
        7: "no_variance",
        8: None,
        9: "no_shared_slices",
        10: "no_window_rows",
        11: "no_reference",
    }
    for name in ("units", "rows"):
        for number, reason in expected.items():
            row = whole.loc[(name, "score", START + number * DAY)]
            reason = reason.replace("units", name) if reason else reason
            assert row["status_reason"] == reason, (name, number)
        # Nothing varies, and everything changed: it is found.
        failed = whole.loc[(name, "score", START + 8 * DAY)]
        assert failed["within_slices"] == 1 and failed["within_slices_p_value"] < 1e-6
        assert 0 < failed["within_slices_ci_lower"] < 1
        assert whole.loc[(name, "rate", START + 4 * DAY), "status_reason"] == "denominator_is_zero"
        still = whole.loc[(name, "score", START + 9 * DAY)]
        assert still["change"] == 0 and np.isnan(still["mix"])
    assert "topic=(missing)" in set(mart["slice"])


def test_a_quiet_day_is_no_proof(warehouse: harness.Warehouse) -> None:
    """Of an event of three in a thousand a day of a thousand rows has none one time in twenty."""
    n = 28_000
    hits = np.zeros(n + 1000)
    hits[: int(0.003 * n)] = 1
    frame = pd.DataFrame(
        {
            "row_at": START + np.where(np.arange(n + 1000) < n, 0, 1) * DAY,
            "unit_id": [f"unit {i % 5000}" for i in range(n + 1000)],
            "topic": "a",
            "score": hits,
        }
    )
    warehouse.load("answers", frame)
    short = {"reference": {"kind": "trailing", "days": 1}}
    monitors = [monitor("units", measure(), **short), monitor("rows", measure(), unit_column=None, **short)]
    mart = everyone(decompose(warehouse, settings(*monitors, analysis={"as_of": "2024-03-06"})))
    assert len(mart) == 2 and mart["change_p_value"].between(0.03, 0.3).all()


def test_without_rows_the_mart_is_empty(warehouse: harness.Warehouse) -> None:
    empty = messy(1).head(0)
    types = {name: "text" for name in ("unit_id", "topic", "language", "country")}
    types |= {"row_at": "timestamp", "score": "double precision", "labelled_at": "timestamp"}
    warehouse.load("answers", empty.assign(labelled_at=None)[list(types)], types=types)
    labelled = monitor("answers", measure(labelled_at_column="labelled_at"), segments=["country"])
    assert decompose(warehouse, settings(labelled)).empty
    nothing = {"name": "nothing", "relation": "raw.answers", "time_column": "row_at"}
    inputs = {**nothing, "features": [{"name": "topic", "kind": "categorical"}]}
    assert decompose(warehouse, settings(inputs)).empty
    assert decompose(warehouse, settings()).empty
