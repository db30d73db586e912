"""Traces to turns and sessions, against a slow retelling of the rules that walks from row to row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import harness
import numpy as np
import pandas as pd
import pytest

START = pd.Timestamp("2024-03-04 00:00:00")
SECOND = pd.Timedelta(seconds=1)
DAY = pd.Timedelta(days=1)
WINDOW = 30 * 60
QUICK = {
    "is_copied": "copy",
    "is_retried": "retry",
    "is_regenerated": "regenerate",
    "is_stopped": "stop",
    "is_edited": "edit",
    "is_thumbed_up": "thumbs_up",
    "is_thumbed_down": "thumbs_down",
    "is_rated": "rating",
    "is_completed": "task_complete",
    "is_converted": "conversion",
}
SLOW = {"is_escalated": "escalation", "is_overridden": "human_override", "is_returned_to": "return_visit"}
EVENTS = [*QUICK.values(), *SLOW.values(), "navigate_away", "page_view"]
TRACE_TYPES = {
    "session_id": "text",
    "ended_at": "timestamp",
    "input_text": "text",
    "output_text": "text",
    "status": "text",
    "is_shadow": "boolean",
    "loaded_at": "timestamp",
    "turn_index": "bigint",
}
OUTCOME_TYPES = {"session_id": "text", "trace_id": "text", "actor": "text", "value": "double precision"}
EXPOSURES = pd.DataFrame(
    {"experiment_id": ["e"], "variation_id": ["control"], "unit_id": ["u0"], "exposed_at": [START]}
)


def world(seed: int, turns: int = 500) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sound traces and outcomes in which everything else varies."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    clock = {f"u{number}": START + rng.integers(0, 4 * 86400) * SECOND for number in range(40)}
    while len(rows) < turns:
        unit = f"u{rng.integers(40)}"
        named = rng.random() < 0.6
        session = f"s{len(rows)}" if named else None
        for _ in range(rng.integers(1, 6)):
            latency = int(rng.integers(500, 20_000))
            started = clock[unit]
            ending = rng.random()
            rows.append(
                {
                    "trace_id": f"t{rng.integers(10**9)}-{len(rows)}",
                    "unit_id": unit,
                    "session_id": session,
                    "started_at": started,
                    "ended_at": started + pd.Timedelta(milliseconds=latency) if ending < 0.7 else None,
                    "latency_ms": float(latency) if 0.4 < ending < 0.9 else None,
                    "output_chars": None if ending > 0.9 else float(rng.choice([0, 40, 900], p=[0.05, 0.5, 0.45])),
                    "render_limit_chars": float(rng.choice([100, 2000])) if rng.random() < 0.5 else None,
                    "input_text": rng.choice(
                        [
                            "how do I pay my invoice by card",
                            "How do I  pay my invoice by card",
                            "how do I pay my invoices by card",
                            "where is my order",
                            "thanks",
                        ]
                    ),
                    "status": rng.choice(
                        ["ok", "error", "timeout", "refusal", "cancelled"], p=[0.8, 0.05, 0.05, 0.05, 0.05]
                    ),
                    "model_version": f"m{rng.integers(2)}",
                    "cost_usd": float(rng.random()) if rng.random() < 0.8 else None,
                    "turn_index": None,
                }
            )
            gap = rng.choice([0.5, 5, 60, 119, 200, 299, 301, 1700, 1900, 9000], p=[0.05, *[0.1] * 8, 0.15])
            clock[unit] = started + pd.Timedelta(milliseconds=latency) + float(gap) * SECOND
        clock[unit] += float(rng.integers(10, 40_000)) * SECOND
    traces = pd.DataFrame(rows)
    events: list[dict[str, Any]] = []
    for number in range(turns // 2):
        turn = rows[rng.integers(len(rows))]
        kind = rng.random()
        events.append(
            {
                "outcome_id": f"o{number}",
                "unit_id": turn["unit_id"],
                "event_name": str(rng.choice(EVENTS)),
                "occurred_at": turn["started_at"]
                + float(rng.choice([-4000, -30, 0, 3, 40, 1000, 1795, 2500, 30_000, 90_000])) * SECOND,
                "trace_id": turn["trace_id"] if kind < 0.4 else "unheard-of" if kind < 0.45 else None,
                # Some are of a session that the log has not.
                "session_id": turn["session_id"] if 0.3 < kind < 0.7 else "unlogged" if kind > 0.9 else None,
                "actor": rng.choice(["user", "agent", None]),
                "value": float(rng.integers(1, 6)),
            }
        )
    return traces, pd.DataFrame(events)


def retell(traces: pd.DataFrame, events: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Turns as the documentation tells them: loops over the turns of a session, a unit, and over the events."""
    turns = traces.sort_values(["started_at", "trace_id"]).reset_index(drop=True)
    ended = turns["started_at"] + pd.to_timedelta(turns["latency_ms"], unit="ms")
    turns["finished_at"] = turns["ended_at"].fillna(ended).fillna(turns["started_at"])
    latest: dict[str, tuple[pd.Timestamp, str]] = {}
    for row in turns[turns["session_id"].isna()].itertuples():
        before = latest.get(row.unit_id)
        is_new = before is None or (row.started_at - before[0]).total_seconds() > WINDOW
        session = f"gap-{row.trace_id}" if is_new else before[1]
        turns.loc[row.Index, "session_id"] = session
        latest[row.unit_id] = (row.finished_at, session)
    turns["turn_index"] = turns.groupby("session_id").cumcount() + 1
    turns["next_trace_id"] = turns.groupby("session_id")["trace_id"].shift(-1)
    following = turns.groupby("session_id")["started_at"].shift(-1)
    turns["next_gap_seconds"] = (following - turns["finished_at"]).dt.total_seconds()
    later = turns.groupby("unit_id")["started_at"].shift(-1)
    silence = (later - turns["finished_at"]).dt.total_seconds().fillna(np.inf)
    watermark, outcomes_until = turns["started_at"].max(), events["occurred_at"].max()
    age = (watermark - turns["finished_at"]).dt.total_seconds()
    outcomes_age = (outcomes_until - turns["finished_at"]).dt.total_seconds()
    turns["is_mature"] = age >= WINDOW
    turns["is_outcome_mature"] = turns["is_mature"] & (outcomes_age >= WINDOW)
    turns["is_day_mature"] = (age >= 86400) & (outcomes_age >= 86400)
    known = turns["is_mature"] & (outcomes_age >= WINDOW - 86400)

    started = turns.set_index("trace_id")["started_at"]
    named = set(traces["session_id"].dropna())
    owned: dict[str, list[Any]] = {trace_id: [] for trace_id in turns["trace_id"]}
    for event in events.itertuples():
        if pd.notna(event.trace_id):
            # A minute for clocks that differ, no more.
            if event.trace_id in owned and (event.occurred_at - started[event.trace_id]).total_seconds() >= -60:
                owned[event.trace_id].append(event)
            continue
        is_logged = pd.notna(event.session_id) and event.session_id in named
        mine = turns["session_id"] == event.session_id if is_logged else turns["unit_id"] == event.unit_id
        before = turns[mine & (turns["started_at"] <= event.occurred_at)]
        may_own = is_logged or pd.isna(event.session_id)
        if len(before) and (may_own or before["session_id"].iloc[-1] not in named):
            owned[before["trace_id"].iloc[-1]].append(event)
    finished = turns.set_index("trace_id")["finished_at"]
    quick = {
        trace_id: [e for e in found if (e.occurred_at - finished[trace_id]).total_seconds() <= WINDOW]
        for trace_id, found in owned.items()
    }
    slow = {
        trace_id: [e for e in found if (e.occurred_at - finished[trace_id]).total_seconds() <= 86400]
        for trace_id, found in owned.items()
    }
    for names, source in ((QUICK, quick), (SLOW, slow)):
        for column, name in names.items():
            seen = [any(e.event_name == name for e in source[trace_id]) for trace_id in turns["trace_id"]]
            turns[column] = pd.Series(seen, dtype=object).where(known, None)
    ratings = [[e.value for e in quick[t] if e.event_name == "rating"] for t in turns["trace_id"]]
    turns["rating"] = pd.Series([np.mean(r) if r else np.nan for r in ratings]).where(known)

    joined = turns.merge(
        pairs[["trace_id", "is_next_equal", "is_next_rephrase", "is_next_acknowledgement"]], how="left"
    )
    gap = turns["next_gap_seconds"]
    raw_regenerated = [any(e.event_name == "regenerate" for e in quick[t]) for t in turns["trace_id"]]
    equal = gap.between(0, 300) & joined["is_next_equal"].eq(True)
    rephrase = gap.between(0, 300) & joined["is_next_rephrase"].eq(True)
    retry = equal & ~np.array(raw_regenerated)
    follow = gap.between(0, 120) & joined["is_next_acknowledgement"].eq(False) & ~rephrase & ~equal
    for name, values in (("is_rephrased", rephrase), ("is_exact_retry", retry), ("is_followed_up", follow)):
        turns[name] = values.astype(object).where(turns["is_mature"], None)
    turns["is_last_turn"] = turns["next_trace_id"].isna()
    repeated = (rephrase | retry).groupby(turns["session_id"]).shift(1, fill_value=False)
    turns["repeats_previous"] = repeated
    failed = turns["status"].isin(["error", "timeout", "refusal"]) | turns["output_chars"].eq(0)
    answered = turns[["ended_at", "latency_ms", "output_chars"]].notna().any(axis=1)
    good = {"copy", "task_complete", "thumbs_up", "conversion"}
    busy = {"retry", "regenerate", "edit", "escalation", "return_visit"}
    kept = [
        any(e.event_name in good or (e.event_name in busy and e.actor != "agent") for e in quick[t])
        for t in turns["trace_id"]
    ]
    left = (silence > WINDOW) & ~np.array(kept)
    bad_events = [any(e.event_name in ("thumbs_down", "stop") for e in quick[t]) for t in turns["trace_id"]]
    negative = failed | repeated | np.array(bad_events)
    told = known & (answered | failed)
    turns["is_abandoned"] = left.astype(object).where(told, None)
    kind = pd.Series(np.where(negative, "after_negative", "unknown"), dtype=object)
    turns["abandon_kind"] = kind.where(told & left, None)
    over = (turns["output_chars"] > turns["render_limit_chars"]).astype(object)
    turns["is_over_render_limit"] = over.where(
        turns["output_chars"].notna() & turns["render_limit_chars"].notna(), None
    )
    return turns


COMPARED = [
    "session_id",
    "turn_index",
    "next_trace_id",
    "is_mature",
    "is_outcome_mature",
    "is_day_mature",
    "is_rephrased",
    "is_exact_retry",
    "is_followed_up",
    "is_last_turn",
    "is_abandoned",
    "abandon_kind",
    "repeats_previous",
    "is_over_render_limit",
    *QUICK,
    *SLOW,
]


def plain(values: pd.Series) -> list[Any]:
    return [None if pd.isna(value) else value for value in values.astype(object)]


def build(warehouse: harness.Warehouse, traces: pd.DataFrame, outcomes: pd.DataFrame | None, **keys: Any) -> None:
    inputs = ["exposures", "traces"] + (["outcomes"] if outcomes is not None else [])
    warehouse.load("exposures", EXPOSURES)
    warehouse.load("traces", traces, types={k: v for k, v in TRACE_TYPES.items() if k in traces})
    if outcomes is not None:
        warehouse.load("outcomes", outcomes, types=OUTCOME_TYPES)
    warehouse.dbt("run", vars={"inputs": inputs, "metrics": [], **keys}, select=["+turns", "+sessions"])


@pytest.fixture(scope="module")
def told(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> tuple[harness.Warehouse, pd.DataFrame]:
    traces, outcomes = world(seed=20240304)
    # The order of the rows means nothing.
    warehouse = warehouse_factory(engine)
    build(warehouse, traces.sample(frac=1, random_state=1), outcomes.sample(frac=1, random_state=2))
    return warehouse, retell(traces, outcomes, warehouse.mart("int_turn_pairs"))


def test_turns_are_as_told(told: tuple[harness.Warehouse, pd.DataFrame]) -> None:
    warehouse, expected = told
    found = warehouse.mart("turns").set_index("trace_id").loc[expected["trace_id"]]
    assert len(found) == len(warehouse.mart("turns"))
    for name in COMPARED:
        wrong = [
            pair
            for pair in zip(expected["trace_id"], plain(found[name]), plain(expected[name]), strict=True)
            if pair[1] != pair[2]
        ]
        assert not wrong, (name, wrong[:5])
    for name in ("next_gap_seconds", "rating"):
        assert np.allclose(found[name].astype(float), expected[name].astype(float), equal_nan=True, atol=1e-6), name
    # Otherwise the comparison would have had nothing to see.
    for name in ("is_rephrased", "is_exact_retry", "is_followed_up", "is_abandoned", *QUICK, *SLOW):
        assert {True, False} <= set(found[name].dropna()), name
    assert {"after_negative", "unknown"} <= set(found["abandon_kind"].dropna())
    assert found["is_abandoned"].isna().any() and (~found["is_mature"]).any()


def test_sessions_add_up(told: tuple[harness.Warehouse, pd.DataFrame]) -> None:
    warehouse, turns = told
    sessions = warehouse.mart("sessions").set_index("session_id").sort_index()
    by_session = turns.sort_values("turn_index").groupby("session_id")
    assert list(sessions.index) == sorted(by_session.groups)
    assert list(sessions["turns"]) == list(by_session.size())
    assert list(sessions["unit_id"]) == list(by_session["unit_id"].first())
    assert list(sessions["first_trace_id"]) == list(by_session["trace_id"].first())
    assert list(sessions["last_trace_id"]) == list(by_session["trace_id"].last())
    assert list(sessions["model_version"]) == list(by_session["model_version"].first())
    cost = by_session["cost_usd"].sum(min_count=1)
    assert np.allclose(sessions["cost_usd"].astype(float), cost, equal_nan=True)
    expected = by_session["is_rephrased"].agg(lambda flags: flags.dropna().sum() if flags.notna().any() else None)
    assert plain(sessions["rephrased_turns"]) == plain(expected)
    last = turns[turns["is_last_turn"]].set_index("session_id").sort_index()
    assert plain(sessions["is_abandoned"]) == plain(last["is_abandoned"])
    assert plain(sessions["abandon_kind"]) == plain(last["abandon_kind"])
    quiet = (turns["started_at"].max() - by_session["finished_at"].max()).dt.total_seconds() >= WINDOW
    assert list(sessions["is_mature"]) == list(quiet & by_session["is_mature"].all())


def test_a_closed_day_stays(
    told: tuple[harness.Warehouse, pd.DataFrame], engine: str, warehouse: harness.Warehouse
) -> None:
    """What was known of a turn does not change because more days came."""
    traces, outcomes = world(seed=20240304)
    cut = START + 3 * DAY
    build(warehouse, traces[traces["started_at"] < cut], outcomes[outcomes["occurred_at"] < cut])
    before = warehouse.mart("turns").set_index("trace_id").sort_index()
    after = told[0].mart("turns").set_index("trace_id").loc[before.index]
    settled = before["is_outcome_mature"].astype(bool)
    assert settled.sum() > 50 and (~settled).sum() > 3
    for name in ("is_rephrased", "is_exact_retry", "is_followed_up", "is_abandoned", "abandon_kind", *QUICK):
        assert plain(before.loc[settled, name]) == plain(after.loc[settled, name]), name
    for name in SLOW:
        final = before["is_day_mature"].astype(bool)
        assert plain(before.loc[final, name]) == plain(after.loc[final, name]), name


def test_a_dead_stream_of_outcomes_leaves_rephrases_alone(warehouse: harness.Warehouse) -> None:
    traces, outcomes = world(seed=7)
    stop = START + DAY
    build(warehouse, traces, outcomes[outcomes["occurred_at"] < stop])
    turns = warehouse.mart("turns")
    late = turns[(turns["started_at"] > stop + DAY) & turns["is_mature"].astype(bool)]
    assert len(late) > 50
    assert late["is_rephrased"].notna().all() and late["is_followed_up"].notna().all()
    assert late["is_abandoned"].isna().all() and late["is_copied"].isna().all()
    assert not late["is_outcome_mature"].any()


def test_without_outcomes(warehouse: harness.Warehouse) -> None:
    traces, _ = world(seed=8, turns=150)
    build(warehouse, traces, None)
    turns = warehouse.mart("turns")
    mature = turns["is_mature"].astype(bool)
    assert turns.loc[mature, ["is_rephrased", "is_exact_retry", "is_followed_up"]].notna().all(axis=None)
    assert turns.loc[mature, "is_abandoned"].notna().any()
    assert turns[[*QUICK, *SLOW]].isna().all(axis=None)


def test_the_bare_minimum(warehouse: harness.Warehouse) -> None:
    """Three columns are enough, and an empty table gives empty marts."""
    traces, _ = world(seed=9, turns=60)
    build(warehouse, traces[["trace_id", "unit_id", "started_at"]], None)
    turns = warehouse.mart("turns")
    assert len(turns) == len(traces)
    assert turns["latency_ms"].isna().all()
    # Without text and hash nothing is known of what followed, which is not a rate of zero.
    assert turns[["is_rephrased", "is_exact_retry", "is_followed_up"]].isna().all(axis=None)
    assert turns.loc[turns["is_mature"].astype(bool), "is_abandoned"].notna().all()
    build(warehouse, traces.head(0)[["trace_id", "unit_id", "started_at"]], None)
    assert warehouse.mart("turns").empty and warehouse.mart("sessions").empty


def test_hashes_do_where_text_may_not_be_stored(warehouse: harness.Warehouse) -> None:
    """Equal hashes are a retry; of unequal ones nobody knows whether they are a rephrase or a follow-up."""
    traces, _ = world(seed=12, turns=200)
    traces["input_hash"] = traces["input_text"].map(lambda text: str(len(text)))
    build(warehouse, traces.drop(columns="input_text"), None)
    turns = warehouse.mart("turns")
    mature = turns[turns["is_mature"].astype(bool)]
    assert {True, False} == set(mature["is_exact_retry"]) and mature["is_exact_retry"].notna().all()
    assert mature["is_rephrased"].isna().all() and mature["is_followed_up"].isna().all()


DIRT = [
    # trace_id, what differs from a sound turn of 4 seconds, and what turns show of it
    ("sound", {}, {"latency_ms": 4000.0, "ended": 4.0, "status": "ok"}, None),
    ("backwards", {"ended_at": -30}, {"latency_ms": 4000.0, "ended": 4.0}, "end_before_start"),
    (
        "backwards_too",
        {"ended_at": -30, "latency_ms": -30_000},
        {"latency_ms": None, "ended": None},
        "end_before_start",
    ),
    ("endless", {"ended_at": 43_197, "latency_ms": 43_197_000}, {"latency_ms": None, "ended": None}, "implausible_end"),
    ("seconds", {"latency_ms": 4.2, "ttft_ms": 0.3}, {"latency_ms": 4200.0, "ttft_ms": 300.0}, "latency_in_seconds"),
    ("fast", {"latency_ms": 40, "ended_at": 0.04}, {"latency_ms": 40.0, "ended": 0.04}, None),
    ("negative", {"latency_ms": -5}, {"latency_ms": 4000.0, "ended": 4.0}, "implausible_latency"),
    ("not_a_number", {"latency_ms": np.inf}, {"latency_ms": 4000.0, "ended": 4.0}, "implausible_latency"),
    ("only_latency", {"ended_at": None}, {"latency_ms": 4000.0, "ended": 4.0}, None),
    ("debt", {"cost_usd": -1.0}, {"cost_usd": None}, "negative_amount"),
    ("gibberish", {"status": "wat"}, {"status": "ok"}, "unknown_status"),
    ("gibberish_error", {"status": "wat", "error_type": "boom"}, {"status": "error"}, "unknown_status"),
    ("shouted", {"status": " TIMED_OUT "}, {"status": "timeout"}, None),
    ("blocked", {"status": None, "finish_reason": "content_filter"}, {"status": "refusal"}, None),
    ("weightless", {"sample_weight": 0.0}, {"sample_weight": 1.0}, "impossible_weight"),
    ("heavy", {"sample_weight": 20.0}, {"sample_weight": 20.0}, None),
    ("blank", {"output_text": "  "}, {"output_chars": 0.0, "output_text": None}, None),
    ("text", {"output_text": "Bonjour", "input_text": "été"}, {"output_chars": 7.0, "input_chars": 3.0}, None),
    ("silent", {"ended_at": None, "latency_ms": None}, {"is_answered": False, "is_abandoned": None}, "unanswered"),
]


def test_dirt_is_repaired_and_counted(warehouse: harness.Warehouse) -> None:
    rows = []
    for number, (trace_id, changes, _, _) in enumerate(DIRT):
        started = START + number * 3600 * SECOND
        row = {"trace_id": trace_id, "unit_id": "u", "started_at": started, "ended_at": 4, "latency_ms": 4000.0}
        row |= {"ttft_ms": None, "cost_usd": 0.5, "status": "ok", "error_type": None, "finish_reason": None}
        row |= {"sample_weight": None, "output_text": None, "input_text": None, "is_shadow": None}
        row |= {"loaded_at": started + DAY / 2, **changes}
        row["ended_at"] = None if row["ended_at"] is None else started + row["ended_at"] * SECOND
        rows.append(row)
    sound = rows[0]
    last = START + 30 * DAY
    rows += [
        {**sound, "trace_id": None},
        {**sound, "trace_id": "no unit", "unit_id": " "},
        {**sound, "trace_id": "shadow", "is_shadow": True},
        {**sound, "trace_id": "future", "started_at": START + 40 * DAY},
        {**sound, "trace_id": "twice", "status": "error", "loaded_at": START + DAY},
        {**sound, "trace_id": "twice", "status": "ok", "loaded_at": START + DAY / 2},
        {**sound, "trace_id": "newest", "started_at": last, "ended_at": last, "loaded_at": last + DAY / 2},
    ]
    types = {
        "error_type": "text",
        "finish_reason": "text",
        "sample_weight": "double precision",
        "ttft_ms": "double precision",
    }
    traces = pd.DataFrame(rows)
    warehouse.load("exposures", EXPOSURES)
    warehouse.load("traces", traces, types={**{k: v for k, v in TRACE_TYPES.items() if k in traces}, **types})
    variables = {"inputs": ["exposures", "traces"], "metrics": []}
    warehouse.dbt("run", vars=variables, select=["+turns", "+input_quality"])
    turns = warehouse.mart("turns").set_index("trace_id")
    assert set(turns.index) == {row[0] for row in DIRT} | {"twice", "newest"}
    assert turns.loc["twice", "status"] == "error"
    for trace_id, _, expected, _ in DIRT:
        found = turns.loc[trace_id]
        for name, value in expected.items():
            if name == "ended":
                ended = found["ended_at"]
                seconds = None if pd.isna(ended) else (ended - found["started_at"]).total_seconds()
                assert seconds == (None if value is None else pytest.approx(value, abs=1e-3)), trace_id
            elif value is None:
                assert pd.isna(found[name]), (trace_id, name)
            else:
                assert found[name] == value, (trace_id, name)
    quality = warehouse.mart("input_quality").set_index(["input_name", "rule"]).loc["traces"]
    wanted = {"missing_key": 2, "shadow": 1, "after_load": 1, "duplicate": 1}
    wanted |= {"after_as_of": 0, "later_than_lookback": 0}
    rules = [rule for *_, rule in DIRT if rule]
    wanted |= {rule: rules.count(rule) for rule in rules}
    # Some dirt breaks two rules at once.
    wanted["implausible_latency"] += 2
    affected = quality["rows_dropped"] + quality["rows_repaired"]
    assert affected.to_dict() == wanted
    assert (quality["rows_seen"] == len(rows)).all()


def test_bad_weights_relation_and_facts(warehouse: harness.Warehouse) -> None:
    """Metrics of turns and sessions are computed like any other; columns of the log that they mention come along."""
    rng = np.random.default_rng(5)
    traces, outcomes = world(seed=11, turns=900)
    traces["tool_calls"] = rng.integers(0, 4, len(traces))
    # What the log calls by a name of ours stays in the log.
    traces["is_mature"] = False
    units = sorted(traces["unit_id"].unique())
    arms = {unit: ("control", "b")[number % 2] for number, unit in enumerate(units)}
    first = traces["started_at"].min() - DAY
    exposures = pd.DataFrame(
        {
            "experiment_id": "e",
            "variation_id": [arms[unit] for unit in units],
            "unit_id": units,
            "exposed_at": first,
        }
    )
    warehouse.load("exposures", exposures)
    warehouse.load("traces", traces, types={k: v for k, v in TRACE_TYPES.items() if k in traces})
    warehouse.load("outcomes", outcomes, types=OUTCOME_TYPES)
    mature = "case when is_mature then 1 else 0 end"
    metrics = [
        {
            "name": "rephrase_rate",
            "fact": "turns",
            "type": "ratio",
            "value": "case when is_rephrased then 1 else 0 end",
            "denominator": {"fact": "turns", "value": mature},
        },
        {
            "name": "retry_rate",
            "fact": "turns",
            "type": "ratio",
            "value": "case when is_exact_retry then 1 else 0 end",
            "denominator": {"value": mature},
        },
        {"name": "tool_calls", "fact": "turns", "type": "mean", "value": "tool_calls"},
        {
            "name": "cost_per_session",
            "fact": "sessions",
            "type": "ratio",
            "value": "cost_usd",
            "denominator": {"aggregate": "count", "where": "cost_usd is not null"},
        },
        {
            "name": "latency_p50",
            "fact": "turns",
            "type": "quantile",
            "value": "latency_ms",
            "quantile": 0.5,
            "quantile_of": "events",
        },
    ]
    variables = {"inputs": ["exposures", "traces", "outcomes"], "metrics": metrics}
    warehouse.dbt("run", vars=variables)
    results = warehouse.mart("experiment_results").set_index("metric_name")
    turns, sessions = warehouse.mart("turns"), warehouse.mart("sessions")
    for frame in (turns, sessions):
        frame["arm"] = frame["unit_id"].map(arms)
    ripe = turns[turns["is_mature"].astype(bool)].groupby("arm")
    totals = {
        "rephrase_rate": ripe["is_rephrased"].mean(),
        "retry_rate": ripe["is_exact_retry"].mean(),
        "tool_calls": turns.groupby("arm")["tool_calls"].sum() / pd.Series(arms).value_counts(),
        "cost_per_session": sessions.groupby("arm")["cost_usd"].mean(),
        "latency_p50": turns.groupby("arm")["latency_ms"].median(),
    }
    for name, expected in totals.items():
        row = results.loc[name]
        tolerance = {"rel": 1e-9} if name != "latency_p50" else {"rel": 0.05}
        assert (row["value_control"], row["value_treatment"]) == pytest.approx(
            (float(expected["control"]), float(expected["b"])), **tolerance
        ), name
    # Clustered by unit: the variance of a ratio of sums over units.
    grouped = turns[turns["is_mature"].astype(bool)].groupby(["arm", "unit_id"])
    parts = grouped["is_rephrased"].agg(["sum", "size"]).astype(float)
    variance = 0.0
    for _, arm in parts.groupby("arm"):
        ratio = arm["sum"].sum() / arm["size"].sum()
        residuals = (arm["sum"] - ratio * arm["size"]) / arm["size"].mean()
        variance += residuals.var(ddof=1) / len(arm)
    assert results.loc["rephrase_rate", "se_absolute"] == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_traces_lost_in_one_arm(warehouse: harness.Warehouse) -> None:
    rng = np.random.default_rng(3)
    rows, turns = [], []
    for number in range(3000):
        for experiment, lost in (("leaky", 0.12), ("tight", 0.03)):
            arm = ("control", "b")[number % 2]
            exposed = START + float(rng.integers(0, 10 * 86400)) * SECOND
            unit = f"{experiment}{number}"
            rows.append({"experiment_id": experiment, "variation_id": arm, "unit_id": unit, "exposed_at": exposed})
            if rng.random() > (lost if arm == "b" else 0.03):
                turns.append({"trace_id": f"t{unit}", "unit_id": unit, "started_at": exposed + 60 * SECOND})
            # Coming back a week later says nothing about the log of the first day.
            turns.append({"trace_id": f"w{unit}", "unit_id": unit, "started_at": exposed + 7 * DAY})
    warehouse.load("exposures", pd.DataFrame(rows))
    warehouse.load("traces", pd.DataFrame(turns))
    warehouse.dbt("run", vars={"inputs": ["exposures", "traces"], "metrics": []}, select="+experiment_health")
    health = warehouse.mart("experiment_health")
    check = health[health["check_name"] == "srm_trace_join"].set_index("experiment_id")
    assert check.loc["leaky", "status"] == "fail" and check.loc["tight", "status"] == "pass"
    exposures = pd.DataFrame(rows)
    seen = {(turn["unit_id"], turn["started_at"].date()) for turn in turns}
    exposures["day"] = exposures["exposed_at"].dt.date
    newest = max(turn["started_at"] for turn in turns)
    ripe = exposures[pd.to_datetime(exposures["day"]) + 2 * DAY <= newest]
    traced = [
        (row.unit_id, row.day) in seen or (row.unit_id, row.day + pd.Timedelta(days=1)) in seen
        for row in ripe.itertuples()
    ]
    from scipy import stats

    for experiment in ("leaky", "tight"):
        mine = ripe["experiment_id"] == experiment
        table = pd.crosstab(ripe.loc[mine, "variation_id"], pd.Series(traced, index=ripe.index)[mine])
        expected = stats.chi2_contingency(table, correction=False)
        assert check.loc[experiment, "statistic"] == pytest.approx(expected.statistic, rel=1e-9)
        assert check.loc[experiment, "p_value"] == pytest.approx(expected.pvalue, rel=1e-7)
