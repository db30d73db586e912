"""scripts/due_actions.py over marts that the tests make up: its words, its JSON and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import harness
import pandas as pd
import pytest
import scripts_runner

import due_actions  # isort: skip - found once scripts_runner has said where

AS_OF = pd.Timestamp("2026-02-09 00:40:00")
TYPES = {
    **dict.fromkeys(due_actions.COLUMNS, "text"),
    **dict.fromkeys(("margin", "effect", "bound"), "double"),
    **dict.fromkeys(("first_breach_at", "as_of_at"), "timestamp"),
}
ROLLBACK = {
    "experiment_id": "canary [1%]",
    "variation_id": "treatment",
    "metric_name": "escalation_rate",
    "slice_name": "language",
    "slice_value": "日本語",
    "action": "rollback",
    "cause": "guardrail",
    "first_breach_at": pd.Timestamp("2026-01-20"),
    "margin": 0.02,
    "effect": 0.071,
    "bound": 0.03125,
    "reason": "harm is at least 0.03125",
    "as_of_at": AS_OF,
}
PAUSE = {
    **ROLLBACK,
    "experiment_id": "broken_split",
    "variation_id": None,
    "metric_name": None,
    "slice_name": "all",
    "slice_value": "all",
    "action": "pause",
    "cause": "sample_ratio",
    "margin": None,
    "effect": None,
    "bound": None,
    "reason": "sample ratio mismatch",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the package's name whose marts are whatever the raw tables say."""
    folder = tmp_path_factory.mktemp("marts") / "evalhouse"
    (folder / "models").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text(
        "name: evalhouse\nversion: 1.0.0\nconfig-version: 2\nprofile: evalhouse\nmodels:\n  +schema: results\n"
    )
    for name in ("due_actions", "dim_experiments", "guardrail_checks"):
        (folder / "models" / f"{name}.sql").write_text(f"select * from raw.{name}\n")
    return folder


@pytest.fixture(scope="module")
def marts(
    engine: str, project: Path, warehouse_factory: Callable[..., harness.Warehouse]
) -> Iterator[Callable[..., harness.Warehouse]]:
    warehouse = warehouse_factory(engine, project_dir=project)

    def build(*rows: dict[str, Any], as_of: Any = AS_OF, select: str | None = None) -> harness.Warehouse:
        frame = pd.DataFrame(list(rows), columns=list(due_actions.COLUMNS))
        warehouse.load("due_actions", frame, types=TYPES)
        moments = pd.DataFrame({"experiment_id": ["canary [1%]"], "as_of_at": [as_of]})
        types = {"experiment_id": "text", "as_of_at": "timestamp"}
        warehouse.load("dim_experiments", moments, types=types)
        # As the contract has it: without as_of_at.
        warehouse.load("guardrail_checks", moments[["experiment_id"]], types={"experiment_id": "text"})
        warehouse.dbt("run", select=select)
        return warehouse

    yield build
    warehouse.close()


def ask(warehouse: harness.Warehouse, *words: str) -> scripts_runner.Outcome:
    return scripts_runner.call(due_actions.main, warehouse, *words)


def test_it_cannot_tell_before_the_marts_exist(marts: Callable[..., harness.Warehouse]) -> None:
    """First of the module: nothing has been built yet."""
    warehouse = marts(select="dim_experiments")
    outcome = ask(warehouse, "--format", "json")
    assert outcome.code == 2
    assert "due_actions does not exist" in outcome.err
    assert "run dbt first" in outcome.err
    answer = json.loads(outcome.out)
    assert answer["status"] == "cannot_tell"
    assert "due_actions does not exist" in answer["reason"]

    warehouse.dbt("run", select="due_actions")
    outcome = ask(warehouse)
    assert outcome.code == 2
    assert "guardrail_checks does not exist" in outcome.err
    assert outcome.out == ""


def test_nothing_is_due(marts: Callable[..., harness.Warehouse]) -> None:
    warehouse = marts()
    outcome = ask(warehouse)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.strip() == "Nothing is due as of 2026-02-09 00:40:00."
    outcome = ask(warehouse, "--format", "json")
    assert outcome.code == 0
    assert json.loads(outcome.out) == {
        "status": "nothing_due",
        "reason": None,
        "as_of_at": "2026-02-09T00:40:00",
        "actions": [],
    }


def test_no_experiment_has_data(marts: Callable[..., harness.Warehouse]) -> None:
    outcome = ask(marts(as_of=None))
    assert outcome.code == 0
    assert "no experiment has data yet" in outcome.out


def test_a_pause_is_due(marts: Callable[..., harness.Warehouse]) -> None:
    warehouse = marts(PAUSE)
    outcome = ask(warehouse)
    assert (outcome.code, outcome.err) == (3, "")
    assert "broken_split" in outcome.out
    assert "sample_ratio" in outcome.out


def test_a_rollback_outranks_a_pause(marts: Callable[..., harness.Warehouse]) -> None:
    warehouse = marts(PAUSE, ROLLBACK)
    outcome = scripts_runner.start("due_actions.py", warehouse, "--format", "json")
    assert outcome.code == 4, outcome.err
    answer = json.loads(outcome.out)
    assert (answer["status"], answer["as_of_at"]) == ("rollback", "2026-02-09T00:40:00")
    rollback, pause = answer["actions"]
    stamps = {"first_breach_at": "2026-01-20T00:00:00", "as_of_at": "2026-02-09T00:40:00"}
    assert rollback == {**ROLLBACK, **stamps}
    assert pause == {**PAUSE, **stamps}

    outcome = ask(warehouse)
    assert outcome.code == 4
    lines = outcome.out.splitlines()
    assert lines[0] == "2 due as of 2026-02-09 00:40:00:"
    words = " ".join(lines)
    for word in ("canary [1%]", "language = 日本語", "2026-01-20", "0.071", "0.03125", *ROLLBACK["reason"].split()):
        assert word in words
    assert words.index("rollback") < words.index("pause")


@pytest.mark.parametrize("rows", [[ROLLBACK], [PAUSE, {**PAUSE, "as_of_at": AS_OF - pd.Timedelta(days=1)}]])
def test_marts_of_different_moments_are_not_believed(
    marts: Callable[..., harness.Warehouse], rows: list[dict[str, Any]]
) -> None:
    outcome = ask(marts(*rows, as_of=AS_OF + pd.Timedelta(days=1)), "--format", "json")
    assert outcome.code == 2
    assert "2026-02-09 00:40:00" in outcome.err
    assert "2026-02-10 00:40:00" in outcome.err
    assert json.loads(outcome.out)["actions"] == []


def test_an_unknown_action_is_not_taken_for_nothing(marts: Callable[..., harness.Warehouse]) -> None:
    outcome = ask(marts({**PAUSE, "action": "explode"}))
    assert outcome.code == 2
    assert "explode" in outcome.err


def test_no_warehouse(marts: Callable[..., harness.Warehouse], tmp_path: Path) -> None:
    warehouse = marts(ROLLBACK)
    missing = {"EVALHOUSE_DUCKDB_PATH": str(tmp_path / "none.duckdb"), "EVALHOUSE_PG_DATABASE": "none"}
    outcome = scripts_runner.start("due_actions.py", warehouse, **missing)
    assert outcome.code == 2
    assert outcome.err.startswith("due_actions: cannot tell: ")
    assert "none" in outcome.err
    assert "Traceback" not in outcome.err
    assert not (tmp_path / "none.duckdb").exists()


@pytest.mark.parametrize("engine", ["duckdb"], indirect=True)
def test_a_duckdb_file_can_be_asked_beside_a_reader(marts: Callable[..., harness.Warehouse]) -> None:
    warehouse = marts(PAUSE)
    warehouse.disconnect()
    reader = duckdb.connect(str(warehouse.path), read_only=True)
    try:
        outcome = scripts_runner.start("due_actions.py", warehouse)
    finally:
        reader.close()
    assert outcome.code == 3, outcome.err


def test_wrong_options_and_a_folder_without_project(tmp_path: Path) -> None:
    script = [sys.executable, str(scripts_runner.SCRIPTS / "due_actions.py")]
    assert subprocess.run([*script, "--format", "xml"], capture_output=True).returncode == 2
    environment = {**os.environ, "DBT_PROFILES_DIR": str(harness.ROOT)}
    done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "dbt_project.yml" in done.stderr
