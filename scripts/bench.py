"""Benchmarks: is the package fast enough, and are its error rates what they claim to be?

    python scripts/bench.py                            both, small: a few minutes
    python scripts/bench.py --performance --scale 0.2  against the hand-written plan, 10 million outcomes
    python scripts/bench.py --turns 1000000            turns with text, against a bare comparison of their words
    python scripts/bench.py --drift 1000000            twenty columns, reference against window, against a plan by hand
    python scripts/bench.py --calibration              every cell of docs/calibration.md; resumes; a few hours

Performance: simulated raw tables, ten metrics, five experiments. The package and bench/reference.sql take turns over
the same DuckDB file, each time in a process of its own; their effects must agree. The package on empty tables gives
dbt's fixed cost. Every run leaves a JSON record in bench_results/.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _bench_drift
import _bench_turns
import calibrate
import duckdb
import simulate
from rich import box
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "bench" / "reference.sql"
TOKEN_JACCARD = ROOT / "bench" / "token_jaccard.sql"
RESULTS = ROOT / "bench_results"
TARGET_RATIO = 1.5

QUICK_SCALE, DEFAULT_SCALE = 0.02, 0.05
QUICK_EXPERIMENTS = 200
QUICK_TURNS = 200_000
QUICK_DRIFT = 100_000
QUICK_SIZES = [100, 500]

# Event, column of the reference, and what is summed (none: events are counted).
MEANS = {
    "page_views": ("page_view", "views", None),
    "messages_sent": ("message_sent", "messages", None),
    "clicks": ("click", "clicks", None),
    "copies": ("copy_response", "copies", None),
    "thumbs_up": ("thumbs_up", "ups", None),
    "thumbs_down": ("thumbs_down", "downs", None),
    "regenerations": ("regenerate", "repeats", None),
    "revenue": ("purchase", "revenue", "value"),
}
RATIOS = {
    "regenerations_per_message": ("regenerations", "messages_sent"),
    "revenue_per_click": ("revenue", "clicks"),
}


def variables() -> dict[str, Any]:
    metrics: list[dict[str, Any]] = []
    for name, (event, _, value) in MEANS.items():
        metric = {
            "name": name,
            "type": "mean",
            "fact": "outcomes",
            "where": f"event_name = '{event}'",
            "cuped": True,
            "cuped_days": 28,
        }
        metrics.append({**metric, "value": value} if value else metric)
    for name, (numerator, denominator) in RATIOS.items():
        event, _, value = MEANS[numerator]
        metric = {"name": name, "type": "ratio", "fact": "outcomes", "where": f"event_name = '{event}'"}
        metric["denominator"] = {"where": f"event_name = '{MEANS[denominator][0]}'"}
        metrics.append({**metric, "value": value} if value else metric)
    return {"raw_schema": "raw", "inputs": ["exposures", "outcomes"], "metrics": metrics}


def generate(connection: duckdb.DuckDBPyConnection, scale: float) -> dict[str, int]:
    """Raw tables, the same for any number of threads: every draw is a hash of the row's number and the draw's.

    Scale 1: 5 million units, about 26 million exposures and 50 million outcomes over 56 days, of which experiments run
    in the last 28. A unit enters four experiments in five, some several times and a few in both arms; activity is
    skewed; experiment 1 has an effect on values; experiment 5 a broken split. One outcome in a hundred comes twice.
    """
    units, outcomes = int(5_000_000 * scale), int(50_000_000 * scale)
    start = "timestamp '2024-03-01 00:00:00'"
    connection.execute("create schema if not exists raw")
    connection.execute(
        "create or replace temp macro draw(i, stream) as"
        " ((hash(i * 32 + stream) >> 11)::double + 0.5) / 9007199254740992"
    )
    connection.execute(
        "create or replace temp macro normal(i, stream) as"
        " sqrt(-2 * ln(draw(i, stream))) * cos(2 * pi() * draw(i, stream + 1))"
    )
    connection.execute(
        f"""
        create or replace table raw.exposures as
        with entered as (
            select
                pair // 5 as unit,
                pair % 5 + 1 as experiment,
                draw(pair, 1) < case when pair % 5 = 4 then 0.52 else 0.5 end as is_control,
                -- Most enter early.
                27 * pow(draw(pair, 2), 2) as day,
                case when draw(pair, 3) < 0.05 then 3 when draw(pair, 3) < 0.25 then 2 else 1 end as times,
                draw(pair, 4) < 0.004 as changes_arm
            from (select unnest(range({5 * units})) as pair)
            where draw(pair, 0) < 0.8
        )
        select
            'user_' || unit as unit_id,
            'experiment_' || experiment as experiment_id,
            case when is_control <> (changes_arm and number > 0) then 'control' else 'treatment' end as variation_id,
            {start} + to_seconds((86400 * (day + number * (28 - day) / 4))::bigint) as exposed_at
        from (select *, unnest(range(times)) as number from entered)
        """
    )
    connection.execute(
        f"""
        create or replace table raw.outcomes as
        with drawn as (
            select
                outcome,
                floor({units} * pow(draw(outcome, 10), 1.6))::bigint as unit,
                draw(outcome, 11) as event,
                56 * draw(outcome, 12) - 28 as day,
                normal(outcome, 13) as noise,
                draw(outcome, 15) < 0.01 as is_repeated
            from (select unnest(range({outcomes})) as outcome)
        )
        select
            'event_' || outcome as outcome_id,
            'user_' || unit as unit_id,
            case
                when event < 0.40 then 'page_view' when event < 0.60 then 'message_sent' when event < 0.74 then 'click'
                when event < 0.84 then 'copy_response' when event < 0.90 then 'thumbs_up'
                when event < 0.93 then 'thumbs_down' when event < 0.97 then 'regenerate' else 'purchase'
            end as event_name,
            {start} + to_seconds((86400 * day)::bigint) as occurred_at,
            round(exp(
                3 + 0.6 * normal(unit, 16) + 0.7 * noise
                + case when day > 0 and draw(unit * 5, 0) < 0.8 and draw(unit * 5, 1) >= 0.5 then 0.03 else 0 end
            ), 2) as value
        from (select *, unnest(case when is_repeated then [0, 1] else [0] end) from drawn)
        """
    )
    tables = ("exposures", "outcomes")
    return {name: connection.execute(f"select count(*) from raw.{name}").fetchone()[0] for name in tables}


def measure(command: Sequence[str], environment: dict[str, str] | None = None) -> dict[str, float]:
    """Wall clock and CPU seconds and peak memory of a process and what it started."""
    started = time.perf_counter()
    with subprocess.Popen(
        command, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"bench: {' '.join(command[:4])} ... failed\n{output}")
    # Linux counts kilobytes, macOS bytes.
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return {
        "wall": time.perf_counter() - started,
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory_mb": usage.ru_maxrss / unit,
    }


def dbt(
    database: Path, target: Path, word: str, variables: dict[str, Any], selection: str | None = None
) -> dict[str, float]:
    target.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "dbt.cli.main", "--quiet", word, "--project-dir", str(ROOT), "--target", "duckdb"]
    command += ["--target-path", str(target), "--log-path", str(target / "logs")]
    command += ["--vars", json.dumps(variables, sort_keys=True)]
    command += ["--select", *selection.split()] if selection else []
    environment = {
        "EVALHOUSE_DUCKDB_PATH": str(database),
        "DBT_PROFILES_DIR": str(ROOT),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    return measure(command, environment)


_REFERENCE_PROCESS = """
import sys, duckdb
with duckdb.connect(sys.argv[1]) as connection:
    connection.execute("create or replace table reference as " + open(sys.argv[2]).read())
"""


def reference(database: Path, plan: Path) -> dict[str, float]:
    return measure([sys.executable, "-c", _REFERENCE_PROCESS, str(database), str(plan)])


def expected_effect(name: str, control: dict[str, float], treatment: dict[str, float]) -> float:
    """The effect of a metric from the reference's moments of two arms."""
    if name in RATIOS:
        numerator, denominator = (MEANS[part][1] for part in RATIOS[name])
        ratios = [arm[f"my_{numerator}"] / arm[f"my_{denominator}"] for arm in (control, treatment)]
        return ratios[1] - ratios[0]
    column = MEANS[name][1]
    first, second = control["units"], treatment["units"]
    gap = {part: treatment[f"m{part}_{column}"] - control[f"m{part}_{column}"] for part in "xy"}

    # The slope is that of both arms taken as one sample.
    def pooled(moment: str, product: float) -> float:
        within = (first - 1) * control[moment] + (second - 1) * treatment[moment]
        return within + first * second / (first + second) * product

    covariance = pooled(f"c_{column}", gap["x"] * gap["y"])
    slope = covariance / pooled(f"vx_{column}", gap["x"] ** 2)
    return gap["y"] - slope * gap["x"]


def compare(database: Path) -> tuple[int, float]:
    """How many effects the two plans have in common, and their largest difference in standard errors."""
    with duckdb.connect(str(database), read_only=True) as connection:
        arms = connection.sql("from reference").df().set_index(["experiment_id", "variation_id"]).to_dict("index")
        rows = connection.sql(
            """
            select experiment_id, metric_name, units_control, units_treatment, effect_absolute, se_absolute
            from main_evalhouse.experiment_results where dimension_name = 'all' and status = 'ok'
            """
        ).fetchall()
    worst = 0.0
    for experiment, name, units_control, units_treatment, effect, error in rows:
        control, treatment = arms[experiment, "control"], arms[experiment, "treatment"]
        if (units_control, units_treatment) != (control["units"], treatment["units"]):
            raise SystemExit(f"bench: units of {name} in {experiment} differ from the reference's")
        worst = max(worst, abs(effect - expected_effect(name, control, treatment)) / error)
    if len(rows) != 5 * (len(MEANS) + len(RATIOS)) or not worst < 1e-6:
        raise SystemExit(f"bench: {len(rows)} effects, up to {worst:.2g} standard errors from the reference's")
    return len(rows), worst


def slowest_models(target: Path, number: int = 5) -> dict[str, float]:
    results = json.loads((target / "run_results.json").read_text())["results"]
    times = {item["unique_id"].split(".")[-1]: item["execution_time"] for item in results}
    return dict(sorted(times.items(), key=lambda item: -item[1])[:number])


def median(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def performance(scale: float, repeats: int, console: Console) -> dict[str, Any]:
    work = RESULTS / "work" / "performance"
    work.mkdir(parents=True, exist_ok=True)
    full, empty = work / "full.duckdb", work / "empty.duckdb"
    for leftover in work.glob("*.duckdb*"):
        leftover.unlink()
    with duckdb.connect(str(full)) as connection:
        rows = generate(connection, scale)
    with duckdb.connect(str(empty)) as connection:
        generate(connection, 0)
    console.print(f"scale {scale:g}: {rows['exposures']:,} exposures, {rows['outcomes']:,} outcomes")
    runs: dict[str, list[dict[str, float]]] = {"reference": [], "package": [], "fixed": []}
    # Scheduled runs find a parsed project.
    for database in (full, empty):
        dbt(database, work / f"target_{database.stem}", "parse", variables())
    for number in range(repeats):
        with duckdb.connect(str(full)) as connection:
            connection.execute("drop schema if exists main_evalhouse cascade")
        runs["reference"].append(reference(full, REFERENCE))
        runs["package"].append(dbt(full, work / "target_full", "run", variables()))
        runs["fixed"].append(dbt(empty, work / "target_empty", "run", variables()))
        console.print(
            f"round {number + 1} of {repeats}: "
            + ", ".join(f"{name} {values[-1]['wall']:.1f} s" for name, values in runs.items())
        )
    effects, worst = compare(full)
    medians = {name: median(values) for name, values in runs.items()}
    ratios = {
        key: {
            "package": medians["package"][key] / medians["reference"][key],
            "without_fixed": (medians["package"][key] - medians["fixed"][key]) / medians["reference"][key],
        }
        for key in ("wall", "cpu")
    }
    ratios["memory_mb"] = {"package": medians["package"]["memory_mb"] / medians["reference"]["memory_mb"]}
    record = {
        "scale": scale,
        "rows": rows,
        "effects_compared": effects,
        "largest_difference_in_standard_errors": worst,
        "medians": medians,
        "ratios": ratios,
        "runs": runs,
        "slowest_models": slowest_models(work / "target_full"),
    }
    for leftover in work.glob("*.duckdb*"):
        leftover.unlink()
    return record


def turns(number: int, repeats: int, console: Console) -> dict[str, Any]:
    """Times `turns` and what it needs; the record has the ratio to the bare comparison, dbt's fixed cost aside."""
    work = RESULTS / "work" / "turns"
    work.mkdir(parents=True, exist_ok=True)
    full, empty = work / "full.duckdb", work / "empty.duckdb"
    for leftover in work.glob("*.duckdb*"):
        leftover.unlink()
    for database, rows in ((full, number), (empty, 0)):
        with duckdb.connect(str(database)) as connection:
            _bench_turns.generate(connection, rows)
    runs: dict[str, list[dict[str, float]]] = {"reference": [], "package": [], "fixed": []}
    for database in (full, empty):
        dbt(database, work / f"target_{database.stem}", "parse", _bench_turns.VARIABLES)
    for _ in range(repeats):
        runs["reference"].append(reference(full, TOKEN_JACCARD))
        for name, database in (("package", full), ("fixed", empty)):
            target = work / f"target_{database.stem}"
            runs[name].append(dbt(database, target, "run", _bench_turns.VARIABLES, _bench_turns.SELECTION))
    medians = {name: median(values) for name, values in runs.items()}
    record = {
        "turns": number,
        "medians": medians,
        "ratio": (medians["package"]["wall"] - medians["fixed"]["wall"]) / medians["reference"]["wall"],
        "runs": runs,
        "slowest_models": slowest_models(work / "target_full"),
        "scans_of_raw_traces": _bench_turns.scans_of_raw_traces(full, work / "target_full"),
    }
    for leftover in work.glob("*.duckdb*"):
        leftover.unlink()
    for line in _bench_turns.summary(record):
        console.print(line)
    slowest = ", ".join(f"{name} {seconds:.1f}" for name, seconds in record["slowest_models"].items())
    console.print(f"Slowest models (s): {slowest}")
    return record


def drift(rows: int, repeats: int, console: Console) -> dict[str, Any]:
    """Times drift_summary, drift_bins and what they need; the ratio to the plan leaves out the fixed cost of dbt."""
    work = RESULTS / "work" / "drift"
    work.mkdir(parents=True, exist_ok=True)
    full, empty = work / "full.duckdb", work / "empty.duckdb"
    for leftover in work.glob("*.duckdb*"):
        leftover.unlink()
    for database, number in ((full, rows), (empty, 0)):
        with duckdb.connect(str(database)) as connection:
            _bench_drift.generate(connection, number)
    plan = work / "plan.sql"
    plan.write_text(_bench_drift.plan())
    runs: dict[str, list[dict[str, float]]] = {"reference": [], "package": [], "fixed": []}
    for database in (full, empty):
        dbt(database, work / f"target_{database.stem}", "parse", _bench_drift.VARIABLES)
    for _ in range(repeats):
        runs["reference"].append(reference(full, plan))
        for name, database in (("package", full), ("fixed", empty)):
            target = work / f"target_{database.stem}"
            runs[name].append(dbt(database, target, "run", _bench_drift.VARIABLES, _bench_drift.SELECTION))
    medians = {name: median(values) for name, values in runs.items()}
    record = {
        "rows": rows,
        "medians": medians,
        "ratio": (medians["package"]["wall"] - medians["fixed"]["wall"]) / medians["reference"]["wall"],
        "runs": runs,
        "slowest_models": slowest_models(work / "target_full"),
        "largest_difference": _bench_drift.largest_difference(full),
    }
    for leftover in work.glob("*.duckdb*"):
        leftover.unlink()
    for line in _bench_drift.summary(record):
        console.print(line)
    slowest = ", ".join(f"{name} {seconds:.1f}" for name, seconds in record["slowest_models"].items())
    console.print(f"Slowest models (s): {slowest}")
    return record


def print_performance(record: dict[str, Any], console: Console) -> None:
    table = Table(title=f"Performance, scale {record['scale']:g}, median of {len(record['runs']['package'])}")
    for head, justify in (("", "left"), ("wall s", "right"), ("CPU s", "right"), ("peak MB", "right")):
        table.add_column(head, justify=justify)
    labels = {"reference": "hand-written plan", "package": "package", "fixed": "package, empty tables"}
    for name, label in labels.items():
        values = record["medians"][name]
        table.add_row(label, f"{values['wall']:.1f}", f"{values['cpu']:.1f}", f"{values['memory_mb']:,.0f}")
    table.add_section()
    ratios = record["ratios"]
    table.add_row(
        "package / plan", *(f"{ratios[key]['package']:.2f}" for key in ("wall", "cpu", "memory_mb"))
    )  # fmt: skip
    table.add_row(
        "(package - empty) / plan", *(f"{ratios[key]['without_fixed']:.2f}" for key in ("wall", "cpu")), "",
        style="bold",
    )  # fmt: skip
    console.print(table)
    reached = ratios["wall"]["without_fixed"] <= TARGET_RATIO
    console.print(
        f"Target for the last row: {TARGET_RATIO} ({'met' if reached else 'not met'}). "
        f"{record['effects_compared']} effects agree to "
        f"{record['largest_difference_in_standard_errors']:.0e} standard errors."
    )
    slowest = ", ".join(f"{name} {seconds:.1f}" for name, seconds in record["slowest_models"].items())
    console.print(f"Slowest models (s): {slowest}")


def calibration(is_quick: bool, console: Console) -> tuple[list[dict[str, Any]], Path]:
    path = RESULTS / ("calibration_quick.json" if is_quick else "calibration.json")
    if is_quick:
        path.unlink(missing_ok=True)
    work = RESULTS / "work" / "calibration"
    number, sizes = (QUICK_EXPERIMENTS, QUICK_SIZES) if is_quick else (None, None)
    runs = calibrate.calibrate(path, work, number, list(calibrate.FAMILIES), sizes)
    others = sum(run.get("package") != calibrate.digest(ROOT) for run in runs)
    if others:
        name = path.relative_to(ROOT)
        console.print(f"{others} of {len(runs)} runs are of other versions of the package; without {name} all are new.")
    return runs, path


def print_calibration(runs: list[dict[str, Any]], console: Console) -> list[str]:
    """The table; returns the bars that were missed."""
    table = Table(title="Calibration, nominal 5%", box=box.SIMPLE)
    table.add_column("metric", no_wrap=True)
    for head in ("n per arm", "experiments", "type I", "relative", "coverage", "relative", "sequential"):
        table.add_column(head, justify="right")
    failures = []
    for _, n, cell, metric, counts, rates, missed in calibrate.judged_in_order(runs):
        table.add_row(
            calibrate.label_of(cell, metric),
            f"{n:,}",
            f"{counts['experiments']:,}",
            *(f"{rates[key]:.1%}" for key in ("type1", "relative_type1", "coverage", "relative_coverage")),
            f"{rates['sequential_type1']:.1%}",
            style="red" if missed else None,
        )
        failures += [f"{calibrate.label_of(cell, metric)}, n={n:,}: {sentence}" for sentence in missed]
    console.print(table)
    console.print("Every cell keeps its bars." if not failures else "Missed:\n" + "\n".join(failures), style=None)
    return failures


def over_time(is_quick: bool, console: Console) -> list[dict[str, Any]]:
    """Experiments that are looked at every day: see scripts/simulate.py."""
    path = RESULTS / ("over_time_quick.json" if is_quick else "over_time.json")
    if is_quick:
        path.unlink(missing_ok=True)
    wanted = simulate.plan(None, simulate.FAMILIES, is_quick)
    return simulate.run_all(path, RESULTS / "work" / "over_time", wanted)


def print_over_time(runs: list[dict[str, Any]], console: Console) -> list[str]:
    """The tables; returns the bars that were missed."""
    texts, failures = simulate.tables(runs)
    for title, (heads, rows) in texts.items():
        if not rows:
            continue
        table = Table(title=title, box=box.SIMPLE)
        for number, head in enumerate(heads):
            table.add_column(head, justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print("Every cell over time keeps its bars." if not failures else "Missed:\n" + "\n".join(failures))
    return failures


def record_run(record: dict[str, Any]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"bench_{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}.json"
    path.write_text(json.dumps(record, indent=1))
    return path


def positive(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return value


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--performance", action="store_true", help="only the performance part, unless both are asked for"
    )
    parser.add_argument("--calibration", action="store_true", help="only the calibration, every cell in full")
    parser.add_argument("--scale", type=positive, help=f"size of the performance part (default {DEFAULT_SCALE})")
    parser.add_argument("--turns", type=int, metavar="N", help="only the part on turns, with N of them")
    parser.add_argument("--drift", type=int, metavar="N", help="only the part on drift, with N rows a side")
    parser.add_argument("--quick", action="store_true", help="the small version; the default when no part is named")
    arguments = parser.parse_args()
    both = not (arguments.performance or arguments.calibration or arguments.turns or arguments.drift)
    is_quick = arguments.quick or both
    # A log has no width of its own; the table needs this one.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    record: dict[str, Any] = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "package": calibrate.digest(ROOT),
        "machine": {"cores": os.cpu_count(), "platform": platform.platform()},
        "versions": {"python": platform.python_version(), "duckdb": duckdb.__version__},
    }
    failures: list[str] = []
    if both or arguments.performance:
        scale = arguments.scale or (QUICK_SCALE if is_quick else DEFAULT_SCALE)
        record["performance"] = performance(scale, 1 if is_quick else 3, console)
    if both or arguments.turns:
        record["turns"] = turns(arguments.turns or QUICK_TURNS, 1 if is_quick else 3, console)
    if both or arguments.drift:
        record["drift"] = drift(arguments.drift or QUICK_DRIFT, 1 if is_quick else 3, console)
    if both or arguments.calibration:
        runs, _ = calibration(is_quick, console)
        record["calibration"] = {"is_quick": is_quick, "runs": runs}
        record["over_time"] = {"is_quick": is_quick, "runs": over_time(is_quick, console)}
    if "performance" in record:
        print_performance(record["performance"], console)
    if "calibration" in record:
        failures = print_calibration(record["calibration"]["runs"], console)
        record["calibration"]["missed"] = failures
        missed = print_over_time(record["over_time"]["runs"], console)
        record["over_time"]["missed"] = missed
        failures = failures + missed
    console.print(f"Record: {record_run(record).relative_to(ROOT)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
