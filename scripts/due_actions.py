"""Says whether an experiment has to be paused or rolled back, as the mart `due_actions` has it.

    python scripts/due_actions.py                          a table
    python scripts/due_actions.py --format json            the same for a program
    python scripts/due_actions.py --target prod            of another target of the dbt profile

Run it from the folder of the dbt project, after dbt has built the marts. It writes nothing to the warehouse.

Exit code:
    0  nothing is due
    2  could not tell: wrong options, no warehouse, a mart is missing, or the marts are not all of the same moment, as
       after a run that stopped half way; the reason is on standard error. Never read it as "nothing is due"
    3  a pause is due, and no rollback
    4  a rollback is due

The JSON is one object: `status` (nothing_due, pause, rollback, cannot_tell), `reason` (null but for cannot_tell),
`as_of_at` (null where no experiment has data yet) and `actions`, a list with the columns of the mart.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from _warehouse import Warehouse, WarehouseError, add_arguments, open_warehouse

MART = "due_actions"
# What it rests on. A build that failed half way leaves some of them older than the others.
EVIDENCE = ("dim_experiments", "experiment_results", "guardrail_checks")
COLUMNS = (
    "experiment_id",
    "variation_id",
    "metric_name",
    "slice_name",
    "slice_value",
    "action",
    "cause",
    "first_breach_at",
    "margin",
    "effect",
    "bound",
    "reason",
    "as_of_at",
)
EXIT_CODES = {"nothing_due": 0, "cannot_tell": 2, "pause": 3, "rollback": 4}
STYLES = {"pause": "yellow", "rollback": "bold red"}
WIDTH = 140


def read(warehouse: Warehouse) -> tuple[list[dict[str, Any]], Any]:
    """The due actions, worst first, and the moment that all marts share."""
    rows = warehouse.rows(f"select * from {warehouse.relation(MART)}")
    if any(row["cause"] == "mixed_relations" for row in rows):
        raise WarehouseError(f"{MART} was built from relations of different runs; run dbt again, all of it")
    unlike = sorted({str(row["action"]) for row in rows} - {"pause", "rollback"})
    if unlike:
        raise WarehouseError(f"{MART} has the action {', '.join(unlike)}; known: pause, rollback")
    moments = {MART: {row["as_of_at"] for row in rows}}
    states = {row["data_state"] for row in rows if row.get("data_state")}
    for name in EVIDENCE:
        if warehouse.has_model(name):
            relation = warehouse.relation(name)
            columns = [column for column in ("as_of_at", "data_state") if column in warehouse.columns(name)]
            if columns:
                found = warehouse.rows(f"select distinct {', '.join(columns)} from {relation}")
                moments[name] = {row["as_of_at"] for row in found if "as_of_at" in row}
                states |= {row["data_state"] for row in found if row.get("data_state")}
    as_of = set().union(*moments.values())
    if len(as_of) > 1:
        told = "; ".join(
            f"{name}: {', '.join(sorted(map(str, found)))}" for name, found in sorted(moments.items()) if found
        )
        raise WarehouseError(f"the marts are of different moments, so dbt has not built all of them: {told}")
    if len(states) > 1:
        raise WarehouseError("the marts are of different states of the data, so dbt has not built all of them")
    keys = ("experiment_id", "variation_id", "metric_name", "slice_name", "slice_value")
    rows.sort(key=lambda row: (row["action"] != "rollback", *(str(row[key] or "") for key in keys)))
    return [{name: plain(row[name]) for name in COLUMNS} for row in rows], plain(next(iter(as_of), None))


def plain(value: Any) -> Any:
    """As JSON knows it. What is no finite number is null."""
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat() if isinstance(value, datetime.date) else value


def show(actions: list[dict[str, Any]], as_of: str | None) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    when = f" as of {as_of.replace('T', ' ')}" if as_of else ": no experiment has data yet"
    if not actions:
        console.print(f"Nothing is due{when}.", style="green")
        return
    console.print(f"{len(actions)} due{when}:", style="bold")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for name in ("action", "experiment", "variation", "cause", "slice", "since"):
        table.add_column(name, overflow="fold")
    for name in ("margin", "harm", "at least"):
        table.add_column(name, justify="right")
    table.add_column("reason", overflow="fold")
    for row in actions:
        everyone = row["slice_name"] in (None, "all")
        cells = [
            row["experiment_id"],
            row["variation_id"] or "-",
            row["metric_name"] or row["cause"],
            "-" if everyone else f"{row['slice_name']} = {row['slice_value']}",
            (row["first_breach_at"] or "-").replace("T", " "),
            *("-" if row[name] is None else f"{row[name]:.4g}" for name in ("margin", "effect", "bound")),
            row["reason"] or "-",
        ]
        table.add_row(Text(row["action"], style=STYLES[row["action"]]), *(escape(str(cell)) for cell in cells))
    console.print(table)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    add_arguments(parser)
    arguments = parser.parse_args(words)
    answer: dict[str, Any] = {"status": "cannot_tell", "reason": None, "as_of_at": None, "actions": []}
    # Whatever goes wrong, the answer must not be taken for another one.
    try:
        with open_warehouse(arguments, read_only=True) as warehouse:
            answer["actions"], answer["as_of_at"] = read(warehouse)
        found = {row["action"] for row in answer["actions"]}
        answer["status"] = "rollback" if "rollback" in found else "pause" if "pause" in found else "nothing_due"
    except WarehouseError as error:
        answer["reason"] = str(error)
    except Exception as error:
        answer["reason"] = f"{type(error).__name__}: {error}"
    if answer["reason"] is not None:
        print(f"due_actions: cannot tell: {answer['reason']}", file=sys.stderr)
    if arguments.format == "json":
        print(json.dumps(answer, indent=2, allow_nan=False))
    elif answer["reason"] is None:
        show(answer["actions"], answer["as_of_at"])
    return EXIT_CODES[answer["status"]]


if __name__ == "__main__":
    sys.exit(main())
