"""The configuration accessor: what it accepts, what it makes of it, and the sentence it refuses each mistake with.

`python tests/python/test_config.py` prints the refused configurations and their messages as a Markdown table.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dbt.adapters.factory import register_adapter, reset_adapters
from dbt.cli.main import dbtRunner
from dbt.clients.jinja import MacroGenerator
from dbt.config.project import VarProvider
from dbt.config.runtime import RuntimeConfig
from dbt.context.providers import generate_runtime_macro_context
from dbt.flags import set_from_args
from dbt.mp_context import get_mp_context
from dbt_common.exceptions import CompilationError

REPO = Path(__file__).resolve().parents[2]

ROOT_KEYS = (
    "raw_schema, source_tables, inputs, dimensions, protected_dimensions, metrics, facts, guardrails, "
    "drift_monitors, signals, analysis"
)
SIGNALS_KEYS = (
    "rephrase_window_seconds, follow_up_window_seconds, abandonment_minutes, session_gap_minutes, rephrase_weights"
)
SECONDS = "a number of seconds above 0, at most a day"
MINUTES = "a number of minutes above 0, at most a day"
EVERY = "name, description, type, fact, role, direction, delay_hours, window_hours"
METRIC_KEYS = (
    "name, description, type, fact, role, direction, where, value, aggregate, denominator, delay_hours, window_hours, "
    "missing, cap, cuped, cuped_days, quantile, quantile_of, steps"
)
ANALYSIS_KEYS = (
    "alpha, correction, sequential_tuning, srm_alpha, relative_method, bayesian, due_rollback, quality_drift, "
    "lookback_days, as_of"
)
INPUTS = "exposures, experiments, experiment_variations, experiment_phases, outcomes, traces, evaluation_scores"
TYPES = "proportion, mean, ratio, quantile, retention, participation, funnel"
DIMENSION = "a plain column name that neither SQL nor evalhouse uses itself"
SNAKE_CASE = "a unique snake_case name of at most 50 characters"
TIMESTAMP = "null, 'YYYY-MM-DD' or 'YYYY-MM-DD HH:MM:SS'"
LONG = "m" * 51

MEAN = {"name": "m", "type": "mean", "fact": "outcomes"}
STEPS = [{"where": "a"}, {"where": "b"}]
BILLING = {"name": "billing", "relation": "finance.invoices", "unit_column": "customer_id", "time_column": "paid_at"}


def metric(type: str = "mean", **keys: Any) -> dict[str, Any]:
    return {"metrics": [{**MEAN, "type": type, **keys}]}


def fact(**keys: Any) -> dict[str, Any]:
    return {"facts": [{**BILLING, **keys}]}


RELATIONS = (
    "exposures, outcomes, traces, turns, sessions, evaluation_scores, or table, schema.table or database.schema.table"
)


def drift(**changed: Any) -> dict[str, Any]:
    given = {"name": "d", "relation": "mine.rows", "time_column": "t", "features": [{"name": "x", "kind": "numeric"}]}
    return {"drift_monitors": [{**given, **changed}]}


def guard(**keys: Any) -> dict[str, Any]:
    return {**metric(), "protected_dimensions": ["language"], "guardrails": [{"metric": "m", **keys}]}


# What a user might write under `vars: evalhouse:`, and the error, which starts with "evalhouse: ".
WRONG: list[tuple[dict[Any, Any], str]] = [
    ({"metricz": []}, f"metricz is not a known key; allowed: {ROOT_KEYS}"),
    ({"raw_schema": 12}, "raw_schema is 12; allowed: the name of a schema"),
    ({"raw_schema": "my schema"}, "raw_schema is 'my schema'; allowed: the name of a schema"),
    ({"raw_schema": ["raw"]}, 'raw_schema is ["raw"]; allowed: the name of a schema'),
    ({"source_tables": ["exposures"]}, 'source_tables is ["exposures"]; allowed: a mapping of inputs to table names'),
    ({"source_tables": {"exposurez": "t"}}, f"source_tables.exposurez is not a known key; allowed: {INPUTS}"),
    ({"source_tables": {"exposures": 7}}, "source_tables.exposures is 7; allowed: the name of a table in raw_schema"),
    (
        {"source_tables": {"exposures": "raw.t"}},
        "source_tables.exposures is 'raw.t'; allowed: the name of a table in raw_schema",
    ),
    ({"inputs": "exposures"}, f"inputs is 'exposures'; allowed: a list from {INPUTS}"),
    ({"inputs": ["outcomes"]}, 'inputs is ["outcomes"]; add exposures, which every mart needs'),
    ({"inputs": ["exposures", "tracez"]}, f"inputs[1] is 'tracez'; allowed: {INPUTS}"),
    ({"inputs": ["exposures", "exposures"]}, "inputs[1] is 'exposures'; remove it, it is named already"),
    ({"inputs": {"exposures": True}}, f'inputs is {{"exposures": true}}; allowed: a list from {INPUTS}'),
    ({"inputs": ["exposures", None]}, f"inputs[1] is missing; allowed: {INPUTS}"),
    ({"dimensions": "country"}, "dimensions is 'country'; allowed: a list of column names"),
    ({"dimensions": ["country", "country"]}, "dimensions[1] is 'country'; remove it, it is named already"),
    ({"dimensions": ["country name"]}, f"dimensions[0] is 'country name'; allowed: {DIMENSION}"),
    ({"dimensions": ["unit_id"]}, f"dimensions[0] is 'unit_id'; allowed: {DIMENSION}"),
    ({"dimensions": ["read_from"]}, f"dimensions[0] is 'read_from'; allowed: {DIMENSION}"),
    ({"dimensions": ["days_between"]}, f"dimensions[0] is 'days_between'; allowed: {DIMENSION}"),
    ({"dimensions": ["started_on"]}, f"dimensions[0] is 'started_on'; allowed: {DIMENSION}"),
    ({"dimensions": ["label_middle"]}, f"dimensions[0] is 'label_middle'; allowed: {DIMENSION}"),
    ({"dimensions": ["total_1"]}, f"dimensions[0] is 'total_1'; allowed: {DIMENSION}"),
    ({"dimensions": [1]}, f"dimensions[0] is 1; allowed: {DIMENSION}"),
    (
        {"dimensions": ["country"], "protected_dimensions": ["Country"]},
        "protected_dimensions[0] is 'Country'; remove it, it is named already",
    ),
    ({"metrics": {"name": "m"}}, 'metrics is {"name": "m"}; allowed: a list of metrics'),
    ({"metrics": "m"}, "metrics is 'm'; allowed: a list of metrics"),
    ({"metrics": ["m"]}, f"metrics[0] is 'm'; allowed: a mapping with the keys {METRIC_KEYS}"),
    ({"metrics": [None]}, f"metrics[0] is missing; allowed: a mapping with the keys {METRIC_KEYS}"),
    ({"metrics": [MEAN, MEAN]}, "metrics[1] (m).name is 'm'; choose another, it is taken by metrics[0]"),
    ({"metrics": [{"type": "mean", "fact": "outcomes"}]}, f"metrics[0].name is missing; allowed: {SNAKE_CASE}"),
    (
        {"metrics": [{**MEAN, "name": "Task Completion"}]},
        f"metrics[0] (Task Completion).name is 'Task Completion'; allowed: {SNAKE_CASE}",
    ),
    ({"metrics": [{**MEAN, "name": 5}]}, f"metrics[0].name is 5; allowed: {SNAKE_CASE}"),
    ({"metrics": [{**MEAN, "name": "m" * 51}]}, f"metrics[0] ({LONG}).name is '{LONG}'; allowed: {SNAKE_CASE}"),
    ({"metrics": [{"name": "m", "fact": "outcomes"}]}, f"metrics[0] (m).type is missing; allowed: {TYPES}"),
    (
        {"metrics": [{"name": "m", "type": "mean"}]},
        "metrics[0] (m).fact is missing; allowed: outcomes, turns, sessions or the name of one of facts",
    ),
    (metric("proporton"), f"metrics[0] (m).type is 'proporton'; allowed: {TYPES}"),
    (metric(directon="increase"), f"metrics[0] (m).directon is not a known key; allowed: {METRIC_KEYS}"),
    (metric(direction="up"), "metrics[0] (m).direction is 'up'; allowed: increase, decrease"),
    (metric(role="primary"), "metrics[0] (m).role is 'primary'; allowed: goal, secondary, guardrail"),
    (metric(role=True), "metrics[0] (m).role is true; allowed: goal, secondary, guardrail"),
    (metric(description=3), "metrics[0] (m).description is 3; allowed: text"),
    (metric(fact="turns"), "metrics[0] (m).fact is 'turns'; add traces to inputs"),
    (metric(fact="visits"), "metrics[0] (m).fact is 'visits'; allowed: outcomes, turns, sessions"),
    ({**metric(), "inputs": ["exposures"]}, "metrics[0] (m).fact is 'outcomes'; add outcomes to inputs"),
    (metric(where="  "), "metrics[0] (m).where is '  '; allowed: a SQL condition, as text"),
    (metric(where=1), "metrics[0] (m).where is 1; allowed: a SQL condition, as text"),
    (metric(value=""), "metrics[0] (m).value is ''; allowed: a SQL expression, as text, or a number"),
    (metric(value=True), "metrics[0] (m).value is true; allowed: a SQL expression, as text, or a number"),
    (metric(aggregate="avg"), "metrics[0] (m).aggregate is 'avg'; allowed: sum, count, max, count_distinct"),
    (metric(aggregate="max"), "metrics[0] (m).value is missing; aggregate max needs it"),
    (
        metric("participation", value="value"),
        f"metrics[0] (m).value is 'value'; remove it, the keys of a participation metric are {EVERY}, where, cap",
    ),
    (
        metric("ratio"),
        (
            "metrics[0] (m).denominator is missing; a ratio metric needs it, allowed: a mapping with the "
            "keys fact, where, value, aggregate"
        ),
    ),
    (
        metric("ratio", denominator="count"),
        ("metrics[0] (m).denominator is 'count'; allowed: a mapping with the keys fact, where, value, aggregate"),
    ),
    (
        metric("ratio", denominator={"wher": "x"}),
        "metrics[0] (m).denominator.wher is not a known key; allowed: fact, where, value, aggregate",
    ),
    (
        metric("ratio", denominator={"fact": "sessions"}),
        "metrics[0] (m).denominator.fact is 'sessions'; add traces to inputs",
    ),
    (
        metric("ratio", denominator={"aggregate": "count_distinct"}),
        "metrics[0] (m).denominator.value is missing; aggregate count_distinct needs it",
    ),
    (
        metric(denominator={"value": "1"}),
        (
            f'metrics[0] (m).denominator is {{"value": "1"}}; remove it, the keys of a mean metric are '
            f"{EVERY}, where, value, aggregate, missing, cap, cuped, cuped_days"
        ),
    ),
    (metric(delay_hours=-1), "metrics[0] (m).delay_hours is -1; allowed: a number from 0 and below 500000"),
    (metric(delay_hours="24"), "metrics[0] (m).delay_hours is '24'; allowed: a number from 0 and below 500000"),
    (metric(window_hours=0), "metrics[0] (m).window_hours is 0; allowed: a number above 0 and below 500000"),
    (metric(window_hours=-24), "metrics[0] (m).window_hours is -24; allowed: a number above 0 and below 500000"),
    (metric(window_hours=True), "metrics[0] (m).window_hours is true; allowed: a number above 0 and below 500000"),
    (
        metric(window_hours=float("inf")),
        "metrics[0] (m).window_hours is Infinity; allowed: a number above 0 and below 500000",
    ),
    (
        metric("proportion", missing="exclude"),
        "metrics[0] (m).missing is 'exclude'; set value as well: without it, a unit without a matching row is a zero",
    ),
    (
        metric("participation", missing="exclude"),
        f"metrics[0] (m).missing is 'exclude'; remove it, the keys of a participation metric are {EVERY}, where, cap",
    ),
    (metric(missing="drop"), "metrics[0] (m).missing is 'drop'; allowed: zero, exclude"),
    (metric(cap=0.99), "metrics[0] (m).cap is 0.99; allowed: a mapping with the keys kind, value"),
    (
        metric(cap={"kind": "percentile", "value": 95}),
        "metrics[0] (m).cap.value is 95; allowed: a number from 0.5 and below 1",
    ),
    (metric(cap={"kind": "percentile"}), "metrics[0] (m).cap.value is missing; allowed: a number above 0"),
    (metric(cap={"kind": "absolute", "value": 0}), "metrics[0] (m).cap.value is 0; allowed: a number above 0"),
    (metric(cap={"kind": "winsor", "value": 1}), "metrics[0] (m).cap.kind is 'winsor'; allowed: percentile, absolute"),
    (
        metric("proportion", cap={"kind": "absolute", "value": 1}),
        (
            f'metrics[0] (m).cap is {{"kind": "absolute", "value": 1}}; remove it, the keys of a proportion '
            f"metric are {EVERY}, where, value, missing"
        ),
    ),
    (metric(cuped="yes"), "metrics[0] (m).cuped is 'yes'; allowed: true, false"),
    (metric(cuped=1), "metrics[0] (m).cuped is 1; allowed: true, false"),
    (metric(cuped_days=0), "metrics[0] (m).cuped_days is 0; allowed: a number above 0 and below 20000"),
    (
        metric("retention", delay_hours=24, cuped=True),
        f"metrics[0] (m).cuped is true; remove it, the keys of a retention metric are {EVERY}, where, value, missing",
    ),
    (
        metric(quantile=0.5),
        (
            f"metrics[0] (m).quantile is 0.5; remove it, the keys of a mean metric are {EVERY}, where, "
            "value, aggregate, missing, cap, cuped, cuped_days"
        ),
    ),
    (
        metric("quantile", value="value"),
        ("metrics[0] (m).quantile is missing; a quantile metric needs it, allowed: a number above 0 and below 1"),
    ),
    (
        metric("quantile", value="value", quantile=95),
        "metrics[0] (m).quantile is 95; allowed: a number above 0 and below 1",
    ),
    (
        metric("quantile", value="value", quantile=1),
        "metrics[0] (m).quantile is 1; allowed: a number above 0 and below 1",
    ),
    (
        metric("quantile", quantile=0.5),
        (
            "metrics[0] (m).value is missing; a quantile metric needs it, allowed: a SQL expression, as "
            "text, or a number"
        ),
    ),
    (
        metric("quantile", value="value", quantile=0.5, quantile_of="rows"),
        "metrics[0] (m).quantile_of is 'rows'; allowed: units, events",
    ),
    (
        metric("quantile", value="value", quantile=0.5, quantile_of="events", aggregate="sum"),
        "metrics[0] (m).aggregate is 'sum'; remove it, or set quantile_of to units",
    ),
    (
        metric("retention"),
        "metrics[0] (m).delay_hours is missing; a retention metric needs it, allowed: a number above 0",
    ),
    (
        metric("retention", delay_hours=0),
        "metrics[0] (m).delay_hours is 0; a retention metric needs it, allowed: a number above 0",
    ),
    (
        metric("funnel"),
        "metrics[0] (m).steps is missing; a funnel metric needs it, allowed: a list of at least 2 steps",
    ),
    (
        metric("funnel", steps=STEPS[:1]),
        'metrics[0] (m).steps is [{"where": "a"}]; allowed: a list of at least 2 steps',
    ),
    (
        metric("funnel", steps=[{"where": "a"}, {"window_hours": 1}]),
        "metrics[0] (m).steps[1].where is missing; allowed: a SQL condition, as text",
    ),
    (
        metric("funnel", steps=[{"where": "a"}, {"where": "b", "window_hours": 0}]),
        "metrics[0] (m).steps[1].window_hours is 0; allowed: a number above 0",
    ),
    (
        metric("funnel", steps=[{"where": "a"}, "b"]),
        "metrics[0] (m).steps[1] is 'b'; allowed: a mapping with the keys where, window_hours",
    ),
    (
        metric("funnel", where="a", steps=STEPS),
        f"metrics[0] (m).where is 'a'; remove it, the keys of a funnel metric are {EVERY}, steps",
    ),
    (
        metric(steps=STEPS),
        (
            f'metrics[0] (m).steps is [{{"where": "a"}}, {{"where": "b"}}]; remove it, the keys of a mean '
            f"metric are {EVERY}, where, value, aggregate, missing, cap, cuped, cuped_days"
        ),
    ),
    ({"metrics": [{**MEAN, "name": f"m{i}"} for i in range(101)]}, "metrics has 101 entries; allowed: at most 100"),
    (
        fact(name="turns"),
        (
            f"facts[0] (turns).name is 'turns'; allowed: {SNAKE_CASE}, "
            "not outcomes, traces, turns, sessions or exposures"
        ),
    ),
    (
        fact(relation="a.b.c.d"),
        "facts[0] (billing).relation is 'a.b.c.d'; allowed: table, schema.table or database.schema.table",
    ),
    (
        fact(relation="select 1"),
        ("facts[0] (billing).relation is 'select 1'; allowed: table, schema.table or database.schema.table"),
    ),
    (fact(unit_column="a b"), "facts[0] (billing).unit_column is 'a b'; allowed: a plain column name"),
    (fact(time_column=None), "facts[0] (billing).time_column is missing; allowed: a plain column name"),
    (
        fact(loaded_at=1),
        (
            "facts[0] (billing).loaded_at is not a known key; allowed: name, relation, unit_column, "
            "time_column, loaded_at_column"
        ),
    ),
    ({"facts": fact()["facts"] * 2}, "facts[1] (billing).name is 'billing'; choose another, it is taken by facts[0]"),
    (
        {"facts": fact()["facts"][0]},
        (
            'facts is {"name": "billing", "relation": "finance.invoices", "unit_column": "customer_id", '
            '"time_column": ...; allowed: a list of facts'
        ),
    ),
    (guard(), "guardrails[0] (m).margin_absolute is missing; give it or margin_relative"),
    (
        guard(margin_absolute=1, margin_relative=1),
        "guardrails[0] (m).margin_relative is 1; give it or margin_absolute, not both",
    ),
    (guard(margin_absolute=-0.1), "guardrails[0] (m).margin_absolute is -0.1; allowed: a number, 0 or above"),
    (guard(margin_relative="1%"), "guardrails[0] (m).margin_relative is '1%'; allowed: a number, 0 or above"),
    (guard(margin_absolute=1, action="stop"), "guardrails[0] (m).action is 'stop'; allowed: pause, rollback"),
    (guard(margin_absolute=1, slices=["country"]), "guardrails[0] (m).slices[0] is 'country'; allowed: language"),
    (guard(margin_absolute=1, metric="x"), "guardrails[0] (x).metric is 'x'; allowed: m"),
    (
        guard(margin_absolute=1, slices="language"),
        "guardrails[0] (m).slices is 'language'; allowed: a list of protected dimensions",
    ),
    (
        {"metrics": [], "guardrails": [{"margin_absolute": 1, "metric": "x"}]},
        "guardrails[0] (x).metric is 'x'; allowed: nothing, as metrics is empty",
    ),
    (
        {**metric(), "guardrails": [{"metric": "m", "margin_absolute": 1}] * 2},
        "guardrails[1] (m).metric is 'm'; choose another, it is taken by guardrails[0]",
    ),
    (
        drift(relation="mine.rows", time_column=None),
        "drift_monitors[0] (d).time_column is missing; a relation of your own needs it, allowed: a plain column name",
    ),
    ({**drift(relation="traces"), "metrics": []}, "drift_monitors[0] (d).relation is 'traces'; add traces to inputs"),
    (drift(relation="a b"), "drift_monitors[0] (d).relation is 'a b'; allowed: " + RELATIONS),
    (drift(features=[]), "drift_monitors[0] (d).features is missing; give at least one of features or of performance"),
    (
        drift(features=[{"name": "x", "kind": "number"}]),
        "drift_monitors[0] (d).features[0] (x).kind is 'number'; allowed: "
        "numeric, categorical, text_length, text, embedding",
    ),
    (
        drift(features=[{"name": "x", "kind": "numeric"}] * 2),
        "drift_monitors[0] (d).features[1] (x).name is 'x'; "
        "choose another, it is taken by drift_monitors[0] (d).features[0]",
    ),
    (
        drift(performance=[{"name": "x", "value": "x"}]),
        "drift_monitors[0] (d).performance[0].name is 'x'; choose another, a feature has it",
    ),
    (drift(slices=["a-b"]), "drift_monitors[0] (d).slices[0] is 'a-b'; allowed: a plain column name"),
    (drift(segments=["a", "A"]), "drift_monitors[0] (d).segments[1] is 'A'; remove it, it is named already"),
    (drift(window_days=0), "drift_monitors[0] (d).window_days is 0; allowed: a whole number from 1 to 92"),
    (
        drift(reference={"kind": "fixed", "start": "2024-01-01"}),
        "drift_monitors[0] (d).reference.end is missing; a fixed reference needs it, "
        "allowed: 'YYYY-MM-DD', the day after the reference",
    ),
    (
        drift(reference={"kind": "fixed", "start": "2024-01-02", "end": "2024-01-02"}),
        "drift_monitors[0] (d).reference.end is '2024-01-02'; allowed: a day after start, 2024-01-02",
    ),
    (
        drift(reference={"kind": "trailing", "weeks": 2}),
        "drift_monitors[0] (d).reference.weeks is 2; remove it, the keys of a trailing reference are kind, days",
    ),
    (
        drift(reference={"kind": "same_weekday"}, window_days=14),
        "drift_monitors[0] (d).reference.kind is 'same_weekday'; "
        "set window_days to at most 7, or take a trailing reference",
    ),
    (
        drift(thresholds={"warn": 0.3}),
        "drift_monitors[0] (d).thresholds.warn is 0.3; allowed: at most thresholds.alert, 0.1",
    ),
    (
        drift(sustained={"windows": 4}),
        "drift_monitors[0] (d).sustained.windows is 4; allowed: at most sustained.of, 3",
    ),
    ({"drift_monitors": 1}, "drift_monitors is 1; allowed: a list of monitors"),
    ({"signals": {"rephrase_window": 300}}, f"signals.rephrase_window is not a known key; allowed: {SIGNALS_KEYS}"),
    ({"signals": {"rephrase_window_seconds": 0}}, f"signals.rephrase_window_seconds is 0; allowed: {SECONDS}"),
    (
        {"signals": {"follow_up_window_seconds": "120"}},
        f"signals.follow_up_window_seconds is '120'; allowed: {SECONDS}",
    ),
    ({"signals": {"abandonment_minutes": 2000}}, f"signals.abandonment_minutes is 2000; allowed: {MINUTES}"),
    ({"signals": {"session_gap_minutes": True}}, f"signals.session_gap_minutes is true; allowed: {MINUTES}"),
    (
        {"signals": {"rephrase_weights": "my weights"}},
        "signals.rephrase_weights is 'my weights'; allowed: table, schema.table or database.schema.table",
    ),
    ({"signals": 300}, "signals is 300; allowed: a mapping"),
    ({"analysis": {"alpa": 0.05}}, f"analysis.alpa is not a known key; allowed: {ANALYSIS_KEYS}"),
    ({"analysis": {"alpha": 5}}, "analysis.alpha is 5; allowed: a number above 0 and below 0.5"),
    ({"analysis": {"alpha": 0.5}}, "analysis.alpha is 0.5; allowed: a number above 0 and below 0.5"),
    ({"analysis": {"alpha": "0.05"}}, "analysis.alpha is '0.05'; allowed: a number above 0 and below 0.5"),
    ({"analysis": {"correction": "bonferroni"}}, "analysis.correction is 'bonferroni'; allowed: holm, bh, none"),
    ({"analysis": {"sequential_tuning": 0}}, "analysis.sequential_tuning is 0; allowed: a number above 0"),
    ({"analysis": {"srm_alpha": 1}}, "analysis.srm_alpha is 1; allowed: a number above 0 and below 1"),
    ({"analysis": {"relative_method": "taylor"}}, "analysis.relative_method is 'taylor'; allowed: fieller, delta"),
    ({"analysis": {"bayesian": "false"}}, "analysis.bayesian is 'false'; allowed: true, false"),
    ({"analysis": {"lookback_days": -1}}, "analysis.lookback_days is -1; allowed: a whole number, 0 or above"),
    ({"analysis": {"lookback_days": 1.5}}, "analysis.lookback_days is 1.5; allowed: a whole number, 0 or above"),
    ({"analysis": {"lookback_days": True}}, "analysis.lookback_days is true; allowed: a whole number, 0 or above"),
    ({"analysis": {"as_of": "2025-02-30"}}, f"analysis.as_of is '2025-02-30'; allowed: {TIMESTAMP}"),
    ({"analysis": {"as_of": "yesterday"}}, f"analysis.as_of is 'yesterday'; allowed: {TIMESTAMP}"),
    ({"analysis": {"as_of": 20250101}}, f"analysis.as_of is 20250101; allowed: {TIMESTAMP}"),
    ({"analysis": {"as_of": "2025-01-01 25:00:00"}}, f"analysis.as_of is '2025-01-01 25:00:00'; allowed: {TIMESTAMP}"),
    ({"analysis": ["alpha"]}, 'analysis is ["alpha"]; allowed: a mapping'),
    ({"analysis": {1: 2}}, f"analysis.1 is not a known key; allowed: {ANALYSIS_KEYS}"),
]

# The same on the command line of this repository.
WRONG_COMMAND_LINE: list[tuple[dict[Any, Any], str]] = [
    ({"metricz": []}, f"metricz is not a known key; allowed: {ROOT_KEYS}"),
    ({"metrics": [{**MEAN, "type": "proporton"}]}, f"metrics[0] (m).type is 'proporton'; allowed: {TYPES}"),
    (
        {"evalhouse": {"metrics": []}},
        """--vars evalhouse is {"metrics": []}; give its keys at the top of --vars instead""",
    ),
]


class Project:
    """A dbt project named evalhouse that has only the configuration macros; a call of a macro costs milliseconds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(REPO / "macros" / "config", folder / "macros")
        shutil.copy(REPO / "profiles.yml", folder)
        project = {"name": "evalhouse", "version": "1.0.0", "profile": "evalhouse"}
        (folder / "dbt_project.yml").write_text(yaml.safe_dump(project))
        paths = {"project_dir": str(folder), "profiles_dir": str(folder), "target_path": str(folder / "target")}
        options = [f"--{name.replace('_', '-')}={value}" for name, value in paths.items()]
        parsed = dbtRunner().invoke(
            ["--quiet", "--no-send-anonymous-usage-stats", "parse", f"--log-path={folder / 'logs'}", *options]
        )
        assert parsed.success, parsed.exception
        self.manifest = parsed.result
        args = Namespace(**paths, target=None, profile=None, threads=None, vars={}, which="run-operation")
        set_from_args(args, None)
        self.config = RuntimeConfig.from_args(args)
        reset_adapters()
        register_adapter(self.config, get_mp_context())

    def macro(
        self, name: str, given: dict[Any, Any] | None = None, command_line: dict[Any, Any] | None = None
    ) -> Callable[..., Any]:
        self.config.vars = VarProvider({"evalhouse": given} if given is not None else {})
        self.config.cli_vars = self.config.args.vars = command_line or {}
        macro = self.manifest.macros[f"macro.evalhouse.{name}"]
        context = generate_runtime_macro_context(macro, self.config, self.manifest, "evalhouse")
        return MacroGenerator(macro, context)

    def settings(self, given: dict[Any, Any] | None = None, command_line: dict[Any, Any] | None = None) -> Any:
        return self.macro("settings", given, command_line)()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    yield Project(tmp_path_factory.mktemp("configuration"))
    reset_adapters()


def error_of(call: Callable[[], Any]) -> str:
    with pytest.raises(CompilationError) as error:
        call()
    return str(error.value.msg)


@pytest.mark.parametrize(("given", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong(project: Project, given: dict[Any, Any], message: str) -> None:
    assert error_of(lambda: project.settings(given)) == "evalhouse: " + message


@pytest.mark.parametrize(("given", "message"), WRONG_COMMAND_LINE, ids=[message for _, message in WRONG_COMMAND_LINE])
def test_wrong_command_line(project: Project, given: dict[Any, Any], message: str) -> None:
    assert error_of(lambda: project.settings(command_line=given)) == "evalhouse: " + message


NEUTRAL = {
    "raw_schema": "raw",
    "source_tables": {name: name for name in INPUTS.split(", ")},
    "inputs": ["exposures", "outcomes"],
    "dimensions": [],
    "protected_dimensions": [],
    "metrics": [],
    "facts": [],
    "guardrails": [],
    "drift_monitors": [],
    "signals": {
        "rephrase_window_seconds": 300,
        "follow_up_window_seconds": 120,
        "abandonment_minutes": 30,
        "session_gap_minutes": 30,
        "rephrase_weights": None,
    },
    "analysis": {
        "alpha": 0.05,
        "correction": "holm",
        "sequential_tuning": 5000,
        "srm_alpha": 0.001,
        "relative_method": "fieller",
        "bayesian": False,
        "due_rollback": "error",
        "quality_drift": "warn",
        "lookback_days": 3,
        "as_of": None,
    },
}
METRIC = {
    "name": "m",
    "description": "",
    "type": "mean",
    "fact": "outcomes",
    "role": "secondary",
    "direction": "increase",
    "where": None,
    "value": None,
    "aggregate": "sum",
    "denominator": None,
    "delay_hours": 0,
    "window_hours": None,
    "missing": "zero",
    "cap": None,
    "cuped": False,
    "cuped_days": 14,
    "quantile": None,
    "quantile_of": "units",
    "steps": [],
}


def test_defaults(project: Project) -> None:
    assert project.settings({"metrics": []}) == NEUTRAL


RIGHT_METRICS = [
    (metric(), {}),
    (
        metric("proportion", where="event_name = 'copy'\n", role="goal", direction="decrease", description="Copies."),
        {
            "type": "proportion",
            "where": "event_name = 'copy'",
            "role": "goal",
            "direction": "decrease",
            "description": "Copies.",
        },
    ),
    (metric(value=1, aggregate="count", missing="exclude"), {"value": "1", "aggregate": "count", "missing": "exclude"}),
    (metric(value="coalesce(value, 0)", cuped=True, cuped_days=7.5), {
        "value": "coalesce(value, 0)", "cuped": True, "cuped_days": 7.5,
    }),
    (metric(cap={"kind": "percentile", "value": 0.99}), {"cap": {"kind": "percentile", "value": 0.99}}),
    (metric("proportion", value="score"), {"type": "proportion", "value": "score"}),
    (metric(cap={"kind": "absolute", "value": 95}), {"cap": {"kind": "absolute", "value": 95}}),
    (metric("participation", cap={"kind": "absolute", "value": 9}, window_hours=48), {
        "type": "participation", "cap": {"kind": "absolute", "value": 9}, "window_hours": 48,
    }),
    (metric("ratio", denominator={}), {
        "type": "ratio",
        "denominator": {"fact": "outcomes", "where": None, "value": None, "aggregate": "sum"},
    }),
    (metric("ratio", denominator={"fact": None, "where": "x > 0", "value": 2, "aggregate": "max"}), {
        "type": "ratio",
        "denominator": {"fact": "outcomes", "where": "x > 0", "value": "2", "aggregate": "max"},
    }),
    (metric("quantile", value="value", quantile=0.95, quantile_of="events"), {
        "type": "quantile", "value": "value", "quantile": 0.95, "quantile_of": "events",
    }),
    (metric("quantile", value="value", quantile=0.5, aggregate="max"), {
        "type": "quantile", "value": "value", "quantile": 0.5, "aggregate": "max",
    }),
    (metric("retention", delay_hours=168, window_hours=24), {
        "type": "retention", "delay_hours": 168, "window_hours": 24,
    }),
    (metric("funnel", steps=[{"where": "a"}, {"where": " b ", "window_hours": 24}]), {
        "type": "funnel", "steps": [{"where": "a", "window_hours": None}, {"where": "b", "window_hours": 24}],
    }),
    (metric(where=None, value=None, cap=None, quantile=None, steps=None, denominator=None), {}),
]  # fmt: skip


@pytest.mark.parametrize(("given", "changed"), RIGHT_METRICS)
def test_metrics_get_every_key(project: Project, given: dict[str, Any], changed: dict[str, Any]) -> None:
    assert project.settings(given) == {**NEUTRAL, "metrics": [{**METRIC, **changed}]}


def test_everything_else_set(project: Project) -> None:
    given = {
        "raw_schema": "landing",
        "source_tables": {"exposures": "assignments"},
        "inputs": ["outcomes", "exposures", "experiments"],
        "dimensions": ["country", "Device"],
        "protected_dimensions": ["language"],
        "metrics": [{**MEAN, "fact": "billing"}, {**MEAN, "name": "n"}],
        "facts": [BILLING, {**BILLING, "name": "visits", "relation": "a-b.c.d", "loaded_at_column": "seen_at"}],
        "guardrails": [
            {"metric": "m", "margin_absolute": 0},
            {"metric": "n", "margin_relative": 0.1, "action": "rollback", "slices": []},
        ],
        "drift_monitors": [],
        "signals": {"abandonment_minutes": 45, "rephrase_weights": "mine.weights"},
        "analysis": {"alpha": 0.01, "correction": "none", "bayesian": True},
    }
    assert project.settings(given) == {
        **given,
        "source_tables": {**NEUTRAL["source_tables"], "exposures": "assignments"},
        "metrics": [{**METRIC, "fact": "billing"}, {**METRIC, "name": "n"}],
        "facts": [{**BILLING, "loaded_at_column": None}, given["facts"][1]],
        "guardrails": [
            {"metric": "m", "margin_absolute": 0, "margin_relative": None, "action": "pause", "slices": ["language"]},
            {"metric": "n", "margin_absolute": None, "margin_relative": 0.1, "action": "rollback", "slices": []},
        ],
        "signals": {**NEUTRAL["signals"], "abandonment_minutes": 45, "rephrase_weights": "mine.weights"},
        "analysis": {**NEUTRAL["analysis"], "alpha": 0.01, "correction": "none", "bayesian": True},
    }


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("'2025-02-28'", "2025-02-28 00:00:00"),
        ("'2024-02-29'", "2024-02-29 00:00:00"),
        ("'2025-12-31 23:59:59'", "2025-12-31 23:59:59"),
        ("2025-12-31", "2025-12-31 00:00:00"),
        ("2025-12-31 10:00:00", "2025-12-31 10:00:00"),
        ("2025-12-31T10:00:00+02:00", "2025-12-31 08:00:00"),
        ("null", None),
    ],
)
def test_as_of(project: Project, written: str, expected: str | None) -> None:
    given = yaml.safe_load(f"{{metrics: [], analysis: {{as_of: {written}}}}}")
    assert project.settings(given)["analysis"]["as_of"] == expected


def test_a_monitor_gets_every_key(project: Project) -> None:
    reference = {"kind": "fixed", "start": "2024-01-01", "end": "2024-02-01 00:00:00"}
    given = drift(performance=[{"name": "right", "value": 1}], reference=reference, thresholds={"alert": 0.25})
    assert project.settings(given)["drift_monitors"] == [
        {
            "name": "d",
            "relation": "mine.rows",
            "time_column": "t",
            "unit_column": None,
            "features": [{"name": "x", "kind": "numeric", "value": "x", "role": "input", "number": 1}],
            "performance": [
                {
                    "name": "right",
                    "value": "1",
                    "denominator": None,
                    "direction": "increase",
                    "margin_absolute": None,
                    "labelled_at_column": None,
                }
            ],
            "slices": [],
            "segments": [],
            "reference": {
                "kind": "fixed",
                "days": None,
                "weeks": None,
                "start": "2024-01-01",
                "end": "2024-02-01",
                "relation": None,
            },
            "window_days": 1,
            "thresholds": {"warn": 0.02, "alert": 0.25},
            "sustained": {"windows": 2, "of": 3},
        }
    ]


def test_turns_are_watched_by_default(project: Project) -> None:
    monitors = project.settings({"inputs": ["exposures", "traces"]})["drift_monitors"]
    assert [(monitor["name"], monitor["relation"], monitor["unit_column"]) for monitor in monitors] == [
        ("traces", "turns", "unit_id")
    ]
    assert monitors[0]["reference"]["days"] == 28
    assert project.settings({"inputs": ["exposures", "traces"], "drift_monitors": []})["drift_monitors"] == []


def test_a_hundred_metrics(project: Project) -> None:
    given = {"metrics": [{**MEAN, "name": f"m{number}"} for number in range(100)]}
    assert len(project.settings(given)["metrics"]) == 100


def test_command_line_overrides_the_project(project: Project) -> None:
    settings = project.settings({"metrics": [MEAN], "raw_schema": "landing"}, {"metrics": [{**MEAN, "name": "n"}]})
    assert [item["name"] for item in settings["metrics"]] == ["n"]
    assert settings["raw_schema"] == "landing"


def test_changing_the_result_does_not_change_the_next(project: Project) -> None:
    given = {"dimensions": ["country"], **metric("funnel", steps=STEPS), "analysis": {"alpha": 0.1}}
    settings = project.macro("settings", given)
    before = json.dumps(settings())
    changed = settings()
    for key in ("dimensions", "metrics", "inputs", "guardrails"):
        changed[key].append("more")
    changed["metrics"][0]["steps"].append("more")
    changed["metrics"][0]["steps"][0]["where"] = changed["analysis"]["alpha"] = "more"
    assert json.dumps(settings()) == before


@pytest.mark.parametrize(
    "given", [None, {}, {"metrics": None, "inputs": None}, {"dimensions": ["country"]}, {"analysis": {"alpha": 0.01}}]
)
def test_example_applies(project: Project, given: dict[str, Any] | None) -> None:
    example = project.macro("example_config")()
    settings = project.settings(given)
    given = given or {}
    assert project.macro("example_is_active", given)() is True
    assert [item["name"] for item in settings["metrics"]] == [item["name"] for item in example["metrics"]]
    assert settings["inputs"] == example["inputs"]
    assert settings["dimensions"] == (given.get("dimensions") or example["dimensions"])
    assert settings["analysis"] == {
        **NEUTRAL["analysis"],
        **example["analysis"],
        **(given.get("analysis") or {}),
    }


@pytest.mark.parametrize(
    "given",
    [
        {"metrics": []},
        {"raw_schema": "landing"},
        {"source_tables": {}},
        {"inputs": ["exposures", "outcomes"]},
        {"facts": []},
    ],
)
def test_example_does_not_apply(project: Project, given: dict[str, Any]) -> None:
    assert project.macro("example_is_active", given)() is False
    assert project.macro("example_is_active", None, given)() is False
    assert project.settings(given) == {**NEUTRAL, **({} if "source_tables" in given else given)}


def test_has_input(project: Project) -> None:
    has_input = project.macro("has_input", {"inputs": ["exposures", "experiments"]})
    assert has_input("experiments") is True
    assert has_input("outcomes") is False
    assert error_of(lambda: has_input("outcome")) == f"evalhouse: has_input[0] is 'outcome'; allowed: {INPUTS}"


def test_is_fast(project: Project) -> None:
    """About 8 ms of one core for 60 metrics of mixed types; the bound leaves room for a slow machine."""
    kinds = [given["metrics"][0] for given, _ in RIGHT_METRICS]
    given = {"metrics": [{**kinds[number % len(kinds)], "name": f"m{number}"} for number in range(60)]}
    settings = project.macro("settings", given)
    durations = []
    for _ in range(10):
        start = time.process_time()
        settings()
        durations.append(time.process_time() - start)
    assert min(durations) < 0.05


def test_documentation_lists_every_key(project: Project) -> None:
    """docs/configuration.md has a section per mapping, whose table has exactly the keys and defaults that are read."""
    fields = project.macro("_settings_fields")()
    sections = re.split(r"^## ", (REPO / "docs" / "configuration.md").read_text(), flags=re.MULTILINE)
    documented = {
        section.splitlines()[0]: dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", section, re.MULTILINE))
        for section in sections[1:]
    }
    tables = {
        "Top level": "root",
        "metrics": "metric",
        "metrics: denominator": "denominator",
        "metrics: cap": "cap",
        "metrics: steps": "step",
        "facts": "fact",
        "guardrails": "guardrail",
        "drift_monitors": ("drift", "monitor"),
        "drift_monitors: features": ("drift", "feature"),
        "drift_monitors: performance": ("drift", "performance"),
        "drift_monitors: reference": ("drift", "reference"),
        "drift_monitors: thresholds": ("drift", "thresholds"),
        "drift_monitors: sustained": ("drift", "sustained"),
        "signals": "signals",
        "analysis": "analysis",
    }
    for title, table in tables.items():
        expected = {}
        allowed = fields[table] if isinstance(table, str) else fields[table[0]][table[1]]
        for key, field in allowed.items():
            default = field.get("default")
            expected[key] = "required" if field.get("required") else written(default)
        assert {key: default.strip() for key, default in documented[title].items()} == expected, title


def written(default: Any) -> str:
    """A default as the documentation writes it."""
    if default is None:
        return ""
    if isinstance(default, list):
        return f"`[{', '.join(default)}]`"
    return f"`{json.dumps(default) if not isinstance(default, str) else default or repr('')}`"


def dbt(folder: Path, scratch: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            str(Path(sys.executable).parent / "dbt"),
            "--no-send-anonymous-usage-stats",
            "--no-use-colors",
            *arguments,
            *(
                "--target-path",
                str(scratch / "target"),
                "--log-path",
                str(scratch / "logs"),
                "--profiles-dir",
                str(REPO),
            ),
        ],
        cwd=folder,
        env={**os.environ, "EVALHOUSE_DUCKDB_PATH": str(scratch / "warehouse.duckdb")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "given", "message"),
    [
        (
            "parse",
            {"metrics": [{**MEAN, "type": "proporton"}]},
            f"metrics[0] (m).type is 'proporton'; allowed: {TYPES}",
        ),
        ("ls", {"metricz": []}, f"metricz is not a known key; allowed: {ROOT_KEYS}"),
    ],
)
def test_dbt_stops_in_this_repository(tmp_path: Path, command: str, given: dict[str, Any], message: str) -> None:
    result = dbt(REPO, tmp_path, command, "--vars", json.dumps(given))
    assert result.returncode != 0
    assert f"evalhouse: {message}\n" in result.stdout


def write_consumer(folder: Path, package: Path, variables: dict[str, Any]) -> None:
    """A user's project that installs the package and has a macro of its own that reads the settings."""
    project = {"name": "consumer", "version": "1.0.0", "profile": "evalhouse", "vars": variables}
    (folder / "dbt_project.yml").write_text(yaml.safe_dump(project))
    (folder / "packages.yml").write_text(yaml.safe_dump({"packages": [{"local": str(package)}]}))
    (folder / "macros").mkdir()
    show = "{% macro show() %}{{ print(tojson(evalhouse.settings())) }}{% endmacro %}"
    (folder / "macros" / "show.sql").write_text(show)
    # What `dbt deps` does with a local package.
    (folder / "dbt_packages").mkdir()
    (folder / "dbt_packages" / "evalhouse").symlink_to(package)


def test_dbt_stops_in_a_users_project(tmp_path: Path) -> None:
    write_consumer(tmp_path, REPO, {"evalhouse": {"metricz": []}})
    result = dbt(tmp_path, tmp_path, "parse")
    assert result.returncode != 0
    assert f"evalhouse: metricz is not a known key; allowed: {ROOT_KEYS}\n" in result.stdout


def test_a_users_project_gets_neutral_defaults(project: Project, tmp_path: Path) -> None:
    """Variables that are not under the package's name, in the file or on the command line, are not the package's."""
    variables = {"metricz": [], "evalhouse": {"dimensions": ["country"]}, "consumer": {"colour": "red"}}
    write_consumer(tmp_path, project.folder, variables)
    result = dbt(tmp_path, tmp_path, "run-operation", "show", "--vars", "{colours: [red]}")
    assert result.returncode == 0, result.stdout
    line = next(line for line in result.stdout.splitlines() if line.startswith("{"))
    assert json.loads(line) == {**NEUTRAL, "dimensions": ["country"]}


def main() -> None:
    """Asks the macros rather than copying the expectations above."""
    print("| Configuration | Message |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        for given, command_line in [(given, None) for given, _ in WRONG] + [
            (None, given) for given, _ in WRONG_COMMAND_LINE
        ]:
            shown = yaml.safe_dump(command_line or given, default_flow_style=True, width=10_000, sort_keys=False)
            shown = shown.strip() if len(shown) < 200 else shown[:196] + " ..."
            message = error_of(lambda given=given, command_line=command_line: project.settings(given, command_line))
            print(f"| `{'--vars ' if command_line else ''}{shown}` | {message} |")


if __name__ == "__main__":
    main()
