"""Compiles the package for cloud engines with their own dbt adapters and no connection.

Run by test_dialects.py with the Python of the environment that holds the adapters: for every engine and configuration
named on the command line, each model, test and analysis is written to `<folder>/<engine>/<configuration>/<path>.sql`.

Only the edge is replaced: what an adapter would ask the warehouse about existing relations is answered from the
tables below in the engine's own type names, and the connection is one that cannot answer.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import quick_dbt
import yaml
from dbt.adapters.base import BaseAdapter
from dbt.adapters.contracts.connection import ConnectionState
from dbt.adapters.contracts.relation import RelationType
from dbt.cli.main import dbtRunner

ROOT = Path(__file__).resolve().parents[2]

PROFILES: dict[str, dict[str, Any]] = {
    "snowflake": {"account": "none", "user": "nobody", "password": "none", "database": "db", "warehouse": "none"},
    "bigquery": {"method": "oauth", "project": "db"},
    "databricks": {"host": "none.invalid", "http_path": "/none", "token": "none", "catalog": "db"},
    "redshift": {"host": "none.invalid", "user": "nobody", "password": "none", "dbname": "db", "port": 5439},
}

# The engine's name, as its adapter reports it, of every type that a raw column may have here.
TYPES: dict[str, dict[str, str]] = {
    "snowflake": {
        "text": "VARCHAR(16777216)",
        "double precision": "FLOAT",
        "bigint": "NUMBER(38,0)",
        "boolean": "BOOLEAN",
        "timestamp": "TIMESTAMP_NTZ(9)",
        "timestamptz": "TIMESTAMP_TZ(9)",
        "date": "DATE",
        "vector": "ARRAY",
    },
    "bigquery": {
        "text": "STRING",
        "double precision": "FLOAT64",
        "bigint": "INT64",
        "boolean": "BOOL",
        "timestamp": "DATETIME",
        "timestamptz": "TIMESTAMP",
        "date": "DATE",
        "vector": "ARRAY<FLOAT64>",
    },
    "databricks": {
        "text": "string",
        "double precision": "double",
        "bigint": "bigint",
        "boolean": "boolean",
        "timestamp": "timestamp_ntz",
        "timestamptz": "timestamp",
        "date": "date",
        "vector": "array<double>",
    },
    "redshift": {
        "text": "character varying(65535)",
        "double precision": "double precision",
        "bigint": "bigint",
        "boolean": "boolean",
        "timestamp": "timestamp without time zone",
        "timestamptz": "timestamp with time zone",
        "date": "date",
        "vector": "super",
    },
}

SEEDS = {
    seed["name"]: seed["config"]["column_types"]
    for seed in yaml.safe_load((ROOT / "seeds" / "_seeds.yml").read_text())["seeds"]
}

# The same tables with the types that raw data have elsewhere, and a fact of the user's own.
OTHER_TABLES = {
    **SEEDS,
    "exposures": {**SEEDS["exposures"], "exposed_at": "timestamptz", "loaded_at": "text"},
    "outcomes": {**SEEDS["outcomes"], "occurred_at": "text", "value": "text"},
    "experiment_variations": {**SEEDS["experiment_variations"], "is_control": "text"},
    "experiment_phases": {**SEEDS["experiment_phases"], "phase_started_at": "date"},
    "traces": {**SEEDS["traces"], "started_at": "timestamptz", "latency_ms": "bigint", "input_embedding": "vector"},
    "invoices": {
        "customer_id": "bigint",
        "paid_at": "timestamptz",
        "received_at": "timestamp",
        "amount": "double precision",
        "plan": "text",
    },
    "my_rephrase_weights": {"feature": "text", "weight": "double precision"},
}

EVERYTHING: dict[str, Any] = {
    "inputs": [
        "exposures",
        "experiments",
        "experiment_variations",
        "experiment_phases",
        "outcomes",
        "traces",
        "evaluation_scores",
    ],
    "raw_schema": "raw",
    "dimensions": ["country", "device"],
    "protected_dimensions": ["language"],
    "facts": [
        {
            "name": "billing",
            "relation": "finance.invoices",
            "unit_column": "customer_id",
            "time_column": "paid_at",
            "loaded_at_column": "received_at",
        }
    ],
    "metrics": [
        {"name": "done", "type": "proportion", "fact": "outcomes", "where": "event_name = 'done'", "role": "goal"},
        {"name": "big", "type": "proportion", "fact": "billing", "value": "amount", "missing": "exclude"},
        {"name": "paid", "type": "mean", "fact": "billing", "value": "amount", "cuped": True, "role": "goal"},
        {
            "name": "paid_capped",
            "type": "mean",
            "fact": "billing",
            "value": "amount",
            "cap": {"kind": "percentile", "value": 0.99},
            "cuped": True,
        },
        {
            "name": "paid_cut",
            "type": "mean",
            "fact": "billing",
            "value": "amount",
            "cap": {"kind": "absolute", "value": 100},
            "missing": "exclude",
        },
        {"name": "highest", "type": "mean", "fact": "billing", "value": "amount", "aggregate": "max"},
        {"name": "events", "type": "mean", "fact": "outcomes", "aggregate": "count", "delay_hours": 1.5},
        {
            "name": "kinds",
            "type": "mean",
            "fact": "outcomes",
            "value": "event_name",
            "aggregate": "count_distinct",
            "window_hours": 24,
        },
        {
            "name": "price",
            "type": "ratio",
            "fact": "billing",
            "value": "amount",
            "denominator": {"fact": "outcomes", "aggregate": "count"},
            "cap": {"kind": "percentile", "value": 0.95},
            "cuped": True,
            "role": "guardrail",
        },
        {
            "name": "kinds_per_session",
            "type": "ratio",
            "fact": "outcomes",
            "value": "event_name",
            "aggregate": "count_distinct",
            "denominator": {"value": "session_id", "aggregate": "count_distinct"},
            "missing": "exclude",
        },
        {"name": "median", "type": "quantile", "fact": "billing", "value": "amount", "quantile": 0.5},
        {
            "name": "largest_median",
            "type": "quantile",
            "fact": "billing",
            "value": "amount",
            "aggregate": "max",
            "missing": "exclude",
            "quantile": 0.5,
        },
        {
            "name": "slow",
            "type": "quantile",
            "fact": "turns",
            "value": "latency_ms",
            "quantile": 0.95,
            "quantile_of": "events",
            "direction": "decrease",
            "role": "guardrail",
        },
        {
            "name": "return",
            "type": "retention",
            "fact": "outcomes",
            "where": "event_name = 'visit'",
            "delay_hours": 168,
            "window_hours": 24,
        },
        {
            "name": "active",
            "type": "participation",
            "fact": "turns",
            "cap": {"kind": "percentile", "value": 0.9},
        },
        {"name": "active_sessions", "type": "participation", "fact": "sessions", "window_hours": 168},
        {
            "name": "activation",
            "type": "funnel",
            "fact": "outcomes",
            "steps": [
                {"where": "event_name = 'copy'"},
                {"where": "event_name = 'pay'", "window_hours": 24},
                {"where": "event_name = 'visit'"},
            ],
        },
        {
            "name": "rephrased",
            "type": "ratio",
            "fact": "turns",
            "value": "case when is_rephrased then 1 else 0 end",
            "denominator": {"value": "case when is_mature then 1 else 0 end"},
            "direction": "decrease",
            "role": "guardrail",
        },
    ],
    "guardrails": [
        {"metric": "price", "margin_relative": 0.1},
        {"metric": "slow", "margin_relative": 0.1, "slices": []},
        {"metric": "rephrased", "margin_absolute": 0.01, "action": "rollback"},
        {"metric": "done", "margin_absolute": 0.01},
    ],
    "drift_monitors": [
        {
            "name": "questions",
            "relation": "traces",
            "features": [
                {"name": "input_chars", "kind": "numeric"},
                {"name": "language", "kind": "categorical"},
                {"name": "question", "kind": "text", "value": "input_text"},
                {"name": "question_length", "kind": "text_length", "value": "input_text"},
                {"name": "meaning", "kind": "embedding", "value": "input_embedding"},
            ],
            "segments": ["device"],
            "reference": {"kind": "same_weekday", "weeks": 4},
        },
        {
            "name": "bills",
            "relation": "finance.invoices",
            "time_column": "paid_at",
            "unit_column": "customer_id",
            "features": [
                {"name": "amount", "kind": "numeric"},
                {"name": "plan", "kind": "categorical", "role": "output"},
            ],
            "performance": [
                {
                    "name": "mean_amount",
                    "value": "amount",
                    "denominator": "1",
                    "margin_absolute": 1,
                    "labelled_at_column": "received_at",
                }
            ],
            "slices": ["plan"],
            "reference": {"kind": "fixed", "start": "2025-01-01", "end": "2025-02-01"},
            "window_days": 7,
        },
        {
            "name": "trained",
            "relation": "raw.ticket_predictions",
            "time_column": "predicted_at",
            "features": [{"name": "ticket_chars", "kind": "numeric"}],
            "reference": {"kind": "training", "relation": "raw.ticket_predictions"},
        },
        {
            "name": "visits",
            "relation": "sessions",
            "features": [{"name": "turns", "kind": "numeric"}],
            "reference": {"kind": "trailing", "days": 14},
        },
    ],
    "signals": {"rephrase_weights": "finance.my_rephrase_weights"},
    "analysis": {
        "correction": "bh",
        "relative_method": "delta",
        "bayesian": True,
        "as_of": "2025-03-31",
        "lookback_days": 5,
    },
}

# What is compiled: variables, the raw tables, and whether what the package builds stands already, as in a second run.
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "example": {"vars": {}, "tables": SEEDS, "stands": False},
    "everything": {"vars": EVERYTHING, "tables": OTHER_TABLES, "stands": True},
    "bare": {"vars": {"inputs": ["exposures"]}, "tables": SEEDS, "stands": False, "select": "path:models"},
}
PACKAGE_SCHEMA_SUFFIX = "_evalhouse"


class NoWarehouse:
    """What an adapter holds in place of a connection: it can be closed, and anything asked of it is an error."""

    def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"compiling asked the warehouse for {name}")


def adapter_class(engine: str) -> type[BaseAdapter]:
    return importlib.import_module(f"dbt.adapters.{engine}").Plugin.adapter


def replace_edge(engine: str, tables: dict[str, dict[str, str]], stands: bool) -> None:
    """Lets the adapter know the tables, and nothing else, without asking the warehouse."""
    cls = adapter_class(engine)
    spelt = str.upper if engine == "snowflake" else str

    def get_relation(self: Any, database: str, schema: str, identifier: str, **_: Any) -> Any:
        is_raw = identifier.lower() in tables and not schema.endswith(PACKAGE_SCHEMA_SUFFIX)
        if not is_raw and not (stands and schema.endswith(PACKAGE_SCHEMA_SUFFIX)):
            return None
        return self.Relation.create(
            database=database,
            schema=schema,
            identifier=identifier,
            quote_policy=self.config.quoting,
            type=RelationType.Table,
        )

    def get_columns_in_relation(self: Any, relation: Any) -> Any:
        columns = tables.get(relation.identifier.lower(), {})
        return [self.Column.create(spelt(name), TYPES[engine][kind]) for name, kind in columns.items()]

    def list_relations_without_caching(self: Any, schema_relation: Any) -> Any:
        return []

    def open_connection(connection: Any) -> Any:
        connection.handle = NoWarehouse()
        connection.state = ConnectionState.OPEN
        return connection

    for replacement in (get_relation, get_columns_in_relation, list_relations_without_caching):
        replacement._is_available_ = True  # type: ignore[attr-defined]
        setattr(cls, replacement.__name__, replacement)
    cls.ConnectionManager.open = staticmethod(open_connection)  # type: ignore[method-assign]


def compile_package(engine: str, configuration: str, folder: Path) -> dict[str, Any]:
    """Runs `dbt compile`; the compiled statements by path, and the errors."""
    made = CONFIGURATIONS[configuration]
    replace_edge(engine, made["tables"], made["stands"])
    profile = {"type": engine, "schema": "analytics", "threads": 1, **PROFILES[engine]}
    profiles = folder / "profiles"
    profiles.mkdir(parents=True, exist_ok=True)
    (profiles / "profiles.yml").write_text(
        yaml.safe_dump({"evalhouse": {"target": engine, "outputs": {engine: profile}}})
    )
    errors: list[str] = []

    def keep(event: Any) -> None:
        if event.info.level in ("warn", "error"):
            errors.append(event.info.msg)

    outcome = dbtRunner(callbacks=[keep]).invoke(
        [
            "compile",
            *("--project-dir", str(ROOT)),
            *("--profiles-dir", str(profiles)),
            *("--target-path", str(folder / "target")),
            *("--log-path", str(folder / "logs")),
            *("--vars", json.dumps(made["vars"])),
            *(("--select", made["select"]) if "select" in made else ()),
            *["--no-populate-cache", "--no-partial-parse", "--no-write-json", "--quiet", "--no-use-colors"],
            *["--no-send-anonymous-usage-stats", "--no-version-check"],
        ]
    )
    if outcome.exception is not None:
        errors.append(f"{type(outcome.exception).__name__}: {outcome.exception}")
    compiled = {}
    contract_types: set[str] = set()
    for item in getattr(outcome.result, "results", []):
        node = item.node
        if item.status != "success":
            errors.append(f"{node.name}: {item.message}")
        elif getattr(node, "compiled_code", None):
            compiled[f"{node.resource_type}/{node.name}"] = node.compiled_code
            if node.resource_type == "model" and node.contract.enforced:
                translate = adapter_class(engine).Column.translate_type
                contract_types.update(translate(column.data_type).lower() for column in node.columns.values())
    return {
        "success": bool(outcome.success),
        "errors": errors,
        "compiled": compiled,
        "contract_types": sorted(contract_types),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the compiled statements go")
    parser.add_argument("--engines", nargs="+", default=list(PROFILES), choices=list(PROFILES))
    parser.add_argument("--configurations", nargs="+", default=list(CONFIGURATIONS), choices=list(CONFIGURATIONS))
    arguments = parser.parse_args()
    quick_dbt.install()
    for engine in arguments.engines:
        for configuration in arguments.configurations:
            folder = arguments.folder / f"{engine}-{configuration}"
            with quick_dbt.one_configuration():
                answer = compile_package(engine, configuration, folder)
            quick_dbt.settle()
            (folder / "answer.json").write_text(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
