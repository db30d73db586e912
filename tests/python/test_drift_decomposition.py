"""drift_decomposition: did quality change, because other inputs came or because the same inputs are answered differently?

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
PARTS = ["change", "mix", "within", "uncovered"]
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
    gap = (whole["change"] - whole["mix"] - whole["within"] - whole["uncovered"]).abs()
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


def inference_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each part: estimate, interval and p-value, with the influence of each group found by moving its weight."""
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
    unseen = squares * len(after) / after["w"].sum() ** 2 / (1 + 1 / (shares**2).sum()) ** 2 * np.array([1, 0, 1, 0])
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
    return hashlib.md5(unit.encode()).hexdigest()[:2]


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
                "topic=" + rows["topic"] + ", language=" + rows["language"].str.strip().replace("", None).fillna("(missing)")
            )
            rows["group"] = rows["unit_id"].map(group_of)
            for name, value, weight in [("score", "score", None), ("error_rate", "errors", "tokens")]:
                known = rows.assign(y=rows[value].replace(np.inf, np.nan), w=1.0 if weight is None else rows[weight])
                known = known[known["y"].notna() & known["w"].notna()]
                for segment, label in [(None, "all"), ("fr", "fr"), (None, "(missing)")]:
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
