"""The harness must not change what it carries: a frame comes back as it went in, the same on both engines."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import harness
import numpy as np
import pandas as pd
import pytest
import quick_dbt
from dbt_common.behavior_flags import Behavior

FRAME = pd.DataFrame(
    {
        "whole": [1, 2, 2**53 + 1, -4],
        "number": [1e-300, np.nan, np.inf, -1 / 3],
        "word": ["a", "", None, 'q"x,\né'],
        "moment": pd.to_datetime(["2024-01-01 00:00:00.123456", None, "2024-01-02", "1999-12-31"], format="ISO8601"),
        "zoned": pd.to_datetime(
            ["2024-01-01 00:00:00.123456", None, "2024-07-02", "1999-12-31"], format="ISO8601"
        ).tz_localize("America/New_York"),
        "flag": [True, False, None, True],
        "day": [datetime.date(2024, 1, 1), None, datetime.date(2024, 1, 2), datetime.date(1999, 12, 31)],
        "nothing": [None] * 4,
    }
)
EXPECTED = pd.DataFrame(
    {
        "whole": pd.Series([1, 2, 2**53 + 1, -4], dtype="int64"),
        "number": FRAME["number"],
        "word": pd.Series(["a", "", None, 'q"x,\né'], dtype="object"),
        "moment": FRAME["moment"].astype("datetime64[us]"),
        "zoned": FRAME["zoned"].dt.tz_convert("UTC").astype("datetime64[us, UTC]"),
        "flag": pd.Series([True, False, None, True], dtype="boolean"),
        "day": pd.to_datetime(["2024-01-01", None, "2024-01-02", "1999-12-31"]).astype("datetime64[us]"),
        "nothing": pd.Series([None] * 4, dtype="Int64"),
    }
)


def test_frames_round_trip(warehouse: harness.Warehouse) -> None:
    warehouse.load("things", FRAME.sample(frac=1, random_state=1), types={"nothing": "bigint"})
    warehouse.load("things", FRAME.assign(whole=-5).iloc[:1], types={"nothing": "bigint"}, append=True)
    back = warehouse.sql("select * from raw.things where whole <> -5")
    back = back.set_index("whole").loc[EXPECTED["whole"]].reset_index()
    pd.testing.assert_frame_equal(back, EXPECTED, check_exact=True)
    assert warehouse.sql("select count(*) as n from raw.things")["n"].tolist() == [5]


def test_empty_frames_keep_their_types(warehouse: harness.Warehouse) -> None:
    types = {"word": "text", "flag": "boolean", "day": "date", "nothing": "double"}
    warehouse.load("things", FRAME.iloc[:0], types=types)
    back = warehouse.sql("select * from raw.things")
    assert len(back) == 0
    kinds = {name: str(kind) for name, kind in back.dtypes.items()}
    assert kinds == {
        **{name: str(kind) for name, kind in EXPECTED.dtypes.items()},
        "flag": "bool",
        "nothing": "float64",
    }


def test_warehouses_are_apart(engine: str, warehouse_factory, tmp_path) -> None:
    project = tmp_path / "project"
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: tiny\nprofile: evalhouse\nconfig-version: 2\n")
    (project / "models" / "one.sql").write_text(
        "{{ config(materialized='table', schema='evalhouse') }}\nselect {{ var('number') }} as number\n"
    )
    first = warehouse_factory(engine, project_dir=project)
    second = warehouse_factory(engine, project_dir=project)
    first.dbt("run", vars={"number": 1})
    second.dbt("run", vars={"number": 2})
    first.dbt("run", vars={"number": 3})
    assert first.mart("one")["number"].tolist() == [3]
    assert second.mart("one")["number"].tolist() == [2]
    broken = first.dbt("run", vars={"number": "no_such_column"}, expect_success=False)
    assert broken.statuses == {"one": "error"}
    assert "no_such_column" in broken.error
    with pytest.raises(AssertionError, match="failed"):
        first.dbt("run", vars={"number": "no_such_column"})
    assert first.mart("one")["number"].tolist() == [3]
    assert first.query("select {{ 1 + 1 }} as two", vars={"number": 3})["two"].tolist() == [2]
    first.close()
    second.close()


def test_a_switch_is_named_after_its_maker() -> None:
    quick_dbt.install()
    made = Behavior([{"name": "new", "default": False, "docs_url": "none"}], {})
    assert made._flags[0]._behavior_change_event.flag_source == __name__


def compiled(target: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """The SQL of every node, and the manifest, without times, the run's id and the place that it was written to."""
    folder = target / "compiled"
    manifest = json.loads((target / "manifest.json").read_text())
    run = manifest["metadata"]["invocation_id"]
    sql = {path.relative_to(folder).as_posix(): path.read_text().replace(run, "") for path in folder.rglob("*.sql")}
    of_a_run = ("created_at", "compiled_path")

    def stripped(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: stripped(value) for key, value in part.items() if key not in of_a_run}
        if isinstance(part, list):
            return [stripped(value) for value in part]
        return part.replace(run, "") if isinstance(part, str) else part

    return sql, {key: stripped(manifest[key]) for key in ("nodes", "macros", "parent_map", "child_map", "disabled")}


def test_dbt_in_this_process_does_what_it_does_elsewhere(warehouse_factory, tmp_path) -> None:
    """What quick_dbt spares must not be seen, in a process that has parsed another configuration before."""
    warehouse = warehouse_factory("duckdb")
    columns = {"experiment_id": "text", "variation_id": "text", "unit_id": "text", "exposed_at": "timestamp"}
    warehouse.load("exposures", pd.DataFrame(columns=list(columns)), types=columns)
    columns = {"outcome_id": "text", "unit_id": "text", "event_name": "text", "occurred_at": "timestamp"}
    warehouse.load("outcomes", pd.DataFrame(columns=list(columns)), types=columns)
    orders = {"name": "orders", "type": "mean", "fact": "outcomes"}
    settings = {"inputs": ["exposures", "outcomes"], "metrics": [orders]}
    warehouse.dbt("parse", vars={**settings, "analysis": {"correction": "holm"}})
    warehouse.dbt("compile", vars=settings, artifacts=True)
    here = compiled(warehouse.target_path)
    command = [sys.executable, "-c", "from dbt.cli.main import cli; cli()"]
    command += ["--quiet", "--no-send-anonymous-usage-stats", "--log-path", str(tmp_path / "logs"), "compile"]
    command += ["--project-dir", str(harness.ROOT), "--profiles-dir", str(harness.ROOT), "--target", "duckdb"]
    command += ["--target-path", str(tmp_path / "target"), "--vars", json.dumps(settings)]
    environment = {**os.environ, **warehouse._environment()}
    subprocess.run(command, env=environment, check=True, timeout=300)
    sql, manifest = compiled(tmp_path / "target")
    assert len(sql) > 50
    assert here[0] == sql
    for key, expected in manifest.items():
        assert here[1][key] == expected, key
    warehouse.close()
