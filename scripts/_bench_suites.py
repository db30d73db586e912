"""The suites of the benchmark: each makes its data, runs the package and what it is held against, and reports lines.

A line is a job with what it cost and, where the job has a target, a figure that may be at most that. What dbt takes for
the same models on empty tables is its fixed cost; figures leave it out unless the line says otherwise.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _bench_data
import _bench_drift
import _bench_job
import _bench_run
import _bench_turns
import duckdb
from _bench_run import Engine, Failed, Usage

BENCH = _bench_run.ROOT / "bench"
HISTORIES = (28, 60, 90)
MEMORY_TARGET_MB = 4000
TURNS, DRIFT_ROWS = 10_000_000, 5_000_000

SIGNALS = "+turns +sessions +implicit_signals_daily +trace_quality_daily +failure_modes +failure_cases"
SIGNALS_SELECTION = f"{SIGNALS} +drift_summary +drift_bins"
HALF = _bench_data.DAYS // 2
SIGNALS_VARIABLES: dict[str, Any] = {
    "raw_schema": "raw",
    "inputs": ["exposures", "traces"],
    "metrics": [],
    "drift_monitors": [
        {
            "name": "traces",
            "relation": "traces",
            "features": [
                *({"name": name, "kind": "numeric"} for name in ("latency_ms", "input_tokens", "output_tokens")),
                *({"name": name, "kind": "categorical"} for name in ("model_version", "country", "device")),
            ],
            "reference": {"kind": "fixed", "start": _bench_data.day(0), "end": _bench_data.day(HALF)},
            "window_days": HALF,
        }
    ],
    "dimensions": ["country", "device"],
    "analysis": {"as_of": _bench_data.day(_bench_data.DAYS)},
}
# What was planted in the second half, and what was not.
DRIFTED, STABLE = ("latency_ms", "model_version", "country"), ("input_tokens", "device")


@dataclass(frozen=True)
class Options:
    """What the command line says. `engine` makes the engine of a suite, `say` prints a line on the way."""

    scale: float
    repeats: int
    engine: Callable[..., Engine]
    say: Callable[[str], None]
    histories: tuple[int, ...] = HISTORIES


@dataclass(frozen=True)
class Line:
    """A row of the table. `value` is the figure that the target is for, None if it could not be measured."""

    suite: str
    job: str
    usage: Usage = dataclasses.field(default_factory=dict)
    value: float | None = None
    target: float | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the figure is at most the target; None where there is no target."""
        return None if self.target is None else self.value is not None and self.value <= self.target


@dataclass(frozen=True)
class Outcome:
    """What a suite found: the lines of the table, what goes into the record only, and seconds per model."""

    lines: list[Line]
    details: dict[str, Any]
    models: dict[str, dict[str, float]]


def engine(work: Path, own: Mapping[str, Any], suite: str, **defaults: Any) -> Engine:
    """The engine of a suite: what the command line says goes before the suite's defaults."""
    return Engine(work / suite, **{**defaults, **{name: value for name, value in own.items() if value}})


def clean(folder: Path) -> None:
    """Removes the files of a suite."""
    shutil.rmtree(folder, ignore_errors=True)


def beyond(run: Usage, fixed: Usage, key: str = "wall") -> float:
    """What a run costs beyond the fixed cost."""
    return run[key] - fixed[key]


def share(run: Usage, fixed: Usage, other: float, key: str = "wall") -> float | None:
    """What a run costs beyond the fixed cost, as a share of something else; None where noise is larger than both."""
    cost = beyond(run, fixed, key)
    return cost / other if cost > 0 and other > 0 else None


def build(engine: Engine, database: Path, variables: Mapping[str, Any], selection: str = "") -> Usage:
    """Builds the package from nothing."""
    with duckdb.connect(str(database)) as connection:
        connection.execute(f"drop schema if exists {_bench_run.SCHEMA} cascade")
    return engine.dbt(database, "run", variables, selection)


def rounds(repeats: int, jobs: Mapping[str, Callable[[], Usage]]) -> tuple[dict[str, list[Usage]], dict[str, Usage]]:
    """Runs the jobs in turn, so that a busy moment hits all of them; every run, and the medians."""
    runs: dict[str, list[Usage]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            runs[name].append(job())
    return runs, {name: _bench_run.median(values) for name, values in runs.items()}


def counted(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {table}" for table, number in rows.items())


def full(options: Options) -> Outcome:
    """Raw tables to results, health and guardrails: five experiments, ten metrics, against the plan by hand."""
    engine = options.engine("full")
    tables = ("--tables", "exposures", "outcomes")
    database, rows = engine.generate("five", "--scale", str(options.scale), *tables)
    empty, _ = engine.generate("empty", "--scale", "0", *tables)
    options.say(f"full: scale {options.scale:g}, {counted(rows)}")
    variables, selection = _bench_job.variables(), _bench_job.SELECTION
    # Scheduled runs find a parsed project.
    for path in (database, empty):
        engine.dbt(path, "parse", variables)
    effects: list[dict[str, Any]] = []

    def peer() -> Usage:
        usage, effects[:] = engine.peer(database)
        return usage

    jobs = {
        "scan": lambda: engine.plan(database, BENCH / "scan.sql", "scan"),
        "reference": lambda: engine.plan(database, BENCH / "reference_contract.sql"),
        "fixed": lambda: build(engine, empty, variables, selection),
        "package": lambda: build(engine, database, variables, selection),
    }
    if _bench_run.has_peer():
        jobs["peer"] = peer
    runs, medians = rounds(options.repeats, jobs)
    agreement = _bench_job.compare(database, _bench_data.EXPERIMENTS, effects)
    package, fixed, reference = (medians[name] for name in ("package", "fixed", "reference"))
    lines = [
        Line("full", "bare scan of the outcomes", medians["scan"], medians["scan"]["wall"] / reference["wall"]),
        Line("full", "reference_contract.sql", reference, 1.0),
        Line("full", "package, empty tables (fixed cost)", fixed),
        Line("full", "package", package, package["wall"] / reference["wall"]),
        Line("full", "(package - fixed) / reference, wall", {}, share(package, fixed, reference["wall"]), 1.5),
        Line("full", "(package - fixed) / reference, CPU", {}, share(package, fixed, reference["cpu"], "cpu")),
    ]
    if effects:
        ratio = share(package, fixed, medians["peer"]["cpu"], "cpu")
        lines.append(Line("full", "tea-tasting, loop over five experiments", medians["peer"]))
        lines.append(Line("full", "(package - fixed) / tea-tasting, CPU", {}, ratio, 1.0))
    else:
        lines.append(Line("full", "tea-tasting is not installed: not compared"))
    details = {"scale": options.scale, "rows": rows, "agreement": agreement, "medians": medians, "runs": runs}
    return Outcome(lines, details, {"full": _bench_run.model_times(engine.target(database))})


def experiments(options: Options) -> Outcome:
    """Twenty experiments on the units of five: linear growth in bounded memory."""
    engine = options.engine("experiments", memory_limit="3GB")
    variables, selection = _bench_job.variables(), _bench_job.SELECTION
    tables = ("--tables", "exposures", "outcomes")
    empty, _ = engine.generate("empty", "--scale", "0", *tables)
    databases, rows = {}, {}
    for number in (5, 20):
        databases[number], rows[number] = engine.generate(
            f"experiments_{number}", "--scale", str(options.scale), "--experiments", str(number), *tables
        )
        options.say(f"experiments: {number} of them, {counted(rows[number])}")
    for path in (empty, *databases.values()):
        engine.dbt(path, "parse", variables)
    effects: list[dict[str, Any]] = []

    def peer() -> Usage:
        usage, effects[:] = engine.peer(databases[20])
        return usage

    jobs = {
        "fixed": lambda: build(engine, empty, variables, selection),
        "five": lambda: build(engine, databases[5], variables, selection),
        "twenty": lambda: build(engine, databases[20], variables, selection),
    }
    if _bench_run.has_peer():
        jobs["peer"] = peer
    runs, medians = rounds(options.repeats, jobs)
    # Not measured: at full size it does not fit into this memory. Its numbers are compared all the same.
    agreement = {}
    try:
        engine.plan(databases[20], BENCH / "reference_contract.sql")
    except Failed as error:
        agreement["reference"] = f"did not run: {str(error).splitlines()[-1]}"
    else:
        agreement = _bench_job.compare(databases[20], 20, effects)
    five, twenty, fixed = (medians[name] for name in ("five", "twenty", "fixed"))
    limit = engine.settings["memory_limit"]
    lines = [
        Line("experiments", f"5 experiments, memory_limit {limit}", five),
        Line("experiments", f"20 experiments, memory_limit {limit}", twenty),
        Line("experiments", "package, empty tables (fixed cost)", fixed),
        Line("experiments", "20 / 5 experiments, wall", {}, share(twenty, fixed, beyond(five, fixed)), 4.0),
        Line("experiments", "20 / 5 experiments, CPU", {}, share(twenty, fixed, beyond(five, fixed, "cpu"), "cpu")),
        Line("experiments", "peak MB at 20", {}, twenty["memory_mb"], MEMORY_TARGET_MB),
    ]
    if effects:
        lines.append(Line("experiments", "tea-tasting, loop over twenty", medians["peer"]))
        ratio = twenty["wall"] / medians["peer"]["wall"]
        lines.append(Line("experiments", "package with dbt / tea-tasting at 20, wall", {}, ratio, 1.0))
    else:
        lines.append(Line("experiments", "tea-tasting is not installed: not compared"))
    details = {"scale": options.scale, "rows": rows, "agreement": agreement, "medians": medians, "runs": runs}
    models = {f"{number} experiments": _bench_run.model_times(engine.target(databases[number])) for number in databases}
    return Outcome(lines, details, models)


def memory(options: Options) -> Outcome:
    """Every model over all three raw tables with 4 GB for DuckDB and two threads: does it finish?"""
    engine = options.engine("memory", memory_limit="4GB", threads=2)
    database, rows = engine.generate("all", "--scale", str(options.scale))
    options.say(f"memory: scale {options.scale:g}, {counted(rows)}")
    job, signals = _bench_job.variables(), {**SIGNALS_VARIABLES, "inputs": ["exposures", "outcomes", "traces"]}
    variables = {**signals, **{key: job[key] for key in ("metrics", "guardrails")}}
    engine.dbt(database, "parse", variables)
    usage, error = {}, None
    try:
        usage = build(engine, database, variables)
    except Failed as failure:
        usage, error = failure.usage, str(failure)
        options.say(f"memory: {failure}")
    failed = _bench_run.unfinished(engine.target(database))
    settings = {name: engine.settings[name] for name in ("memory_limit", "threads")}
    with_settings = ", ".join(f"{name} {value}" for name, value in settings.items())
    lines = [
        Line("memory", f"dbt run, scale {options.scale:g}, {with_settings}: models not built", usage, len(failed), 0),
        Line("memory", "megabytes spilled to disk", {}, usage["spill_mb"]),
    ]
    details = {"scale": options.scale, "rows": rows, "settings": settings, "usage": usage, "not_built": failed}
    details |= {"failure": error} if error else {}
    return Outcome(lines, details, {"memory": _bench_run.model_times(engine.target(database))})


@dataclass(frozen=True)
class Job:
    """What a suite builds day by day: variables, models, and the raw tables that they read."""

    suite: str
    variables: dict[str, Any]
    selection: str
    tables: tuple[str, ...]


def incremental(options: Options) -> Outcome:
    """Experiments over outcomes, day by day."""
    job = Job("incremental", _bench_job.variables(), _bench_job.SELECTION, ("exposures", "outcomes"))
    return over_days(options, job)


def incremental_signals(options: Options) -> Outcome:
    """Turns, sessions, signals, quality and failures over traces, day by day."""
    variables = {name: value for name, value in SIGNALS_VARIABLES.items() if name not in ("drift_monitors", "analysis")}
    return over_days(options, Job("incremental_signals", variables, SIGNALS, ("exposures", "traces")))


def over_days(options: Options, job: Job) -> Outcome:
    """A history is built, one more day arrives with late and corrected rows, and dbt runs again: what that costs of
    the first build as history grows, and whether the marts are those of a full refresh."""
    engine = options.engine(job.suite)
    variables, selection = job.variables, job.selection
    empty, _ = engine.generate("empty", "--scale", "0", "--hold-back", "--tables", *job.tables)
    engine.dbt(empty, "parse", variables)
    jobs = {
        "first": lambda: build(engine, empty, variables, selection),
        "again": lambda: engine.dbt(empty, "run", variables, selection),
    }
    _, fixed = rounds(options.repeats, jobs)
    lines = [Line(job.suite, f"package, empty tables, {name} run (fixed cost)", fixed[name]) for name in jobs]
    histories, models, cost = {}, {}, {}
    for days in options.histories:
        histories[str(days)], models[f"{days} days, one more day"] = one_history(options, engine, job, days)
        found = histories[str(days)]
        cost[days] = {key: beyond(found["on_time"], fixed["again"], key) for key in ("wall", "cpu")}
        shares = found["share"] = {
            name: {
                key: share(found[name], fixed["again"], beyond(found["first"], fixed["first"], key), key)
                for key in cost[days]
            }
            for name in ("on_time", "with_late")
        }
        worst = max(
            math.inf if gap["rows_of_one_only"] else gap["largest_difference"] for gap in found["marts"].values()
        )
        lines += [
            Line(job.suite, f"{days} days: first build", found["first"]),
            Line(job.suite, f"{days} days: one more day", found["on_time"]),
            Line(job.suite, f"{days} days: one more day / first build, wall", {}, shares["on_time"]["wall"], 0.15),
            Line(job.suite, f"{days} days: one more day / first build, CPU", {}, shares["on_time"]["cpu"]),
            Line(job.suite, f"{days} days: with late and corrected rows", found["with_late"]),
            Line(job.suite, f"{days} days: the same / first build, wall", {}, shares["with_late"]["wall"]),
            Line(job.suite, f"{days} days: the same / first build, CPU", {}, shares["with_late"]["cpu"]),
            Line(job.suite, f"{days} days: difference to a full refresh", found["full_refresh"], worst, 1e-9),
        ]
    shortest, longest = min(cost), max(cost)
    if shortest != longest:
        for key in ("wall", "cpu"):
            growth = (
                cost[longest][key] / cost[shortest][key] if min(cost[longest][key], cost[shortest][key]) > 0 else None
            )
            lines.append(Line(job.suite, f"one more day after {longest} days / after {shortest}, {key}", {}, growth))
    return Outcome(lines, {"scale": options.scale, "fixed": fixed, "histories": histories}, models)


def one_history(options: Options, engine: Engine, job: Job, days: int) -> tuple[dict[str, Any], dict[str, float]]:
    """First build, one more day, the same day with late and corrected rows, full refresh: costs and differences, and
    seconds per model for the day."""
    variables, selection = job.variables, job.selection
    size = ("--scale", str(options.scale), "--days", str(days))
    database, rows = engine.generate(f"days_{days}", *size, "--hold-back", "--tables", *job.tables)
    options.say(f"{job.suite}: {days} days, {counted(rows)}")
    engine.dbt(database, "parse", variables)
    first = engine.dbt(database, "run", variables, selection)
    first_models = _bench_run.model_times(engine.target(database))
    first_build = database.with_suffix(".first_build")
    shutil.copy(database, first_build)
    with duckdb.connect(str(database)) as connection:
        _bench_data.add_held_back_day(connection, on_time=True)
    on_time = engine.dbt(database, "run", variables, selection)
    models = _bench_run.model_times(engine.target(database))
    first_build.replace(database)
    with duckdb.connect(str(database)) as connection:
        added = _bench_data.add_held_back_day(connection)
    with_late = engine.dbt(database, "run", variables, selection)
    marts = _bench_run.marts(engine.target(database))
    with duckdb.connect(str(database)) as connection:
        connection.execute("create schema kept")
        for mart in marts:
            connection.execute(f"create table kept.{mart} as from {_bench_run.SCHEMA}.{mart}")
    refreshed = engine.dbt(database, "run", variables, selection, "--full-refresh")
    gaps = {}
    with duckdb.connect(str(database), read_only=True) as connection:
        for mart in marts:
            kept, new = f"kept.{mart}", f"{_bench_run.SCHEMA}.{mart}"
            gap, lost = _bench_job.largest_difference(connection, kept, new)
            gaps[mart] = {"largest_difference": gap, "rows_of_one_only": lost}
    # It is not what it was made as any more.
    engine.database(database.stem)
    found = {"rows": rows, "added": added, "first": first, "on_time": on_time, "with_late": with_late}
    found["full_refresh"] = refreshed
    return {**found, "marts": gaps, "models_of_first_build": first_models}, models


def signals(options: Options) -> Outcome:
    """Turns, sessions, signals, quality, failures and drift over the traces, against one sorted pass over them."""
    engine = options.engine("signals")
    tables = ("--tables", "exposures", "traces")
    database, rows = engine.generate("traces", "--scale", str(options.scale), *tables)
    empty, _ = engine.generate("empty", "--scale", "0", *tables)
    options.say(f"signals: scale {options.scale:g}, {counted(rows)}")
    runs, medians = against_plan(
        options,
        engine,
        (database, empty),
        {"reference": BENCH / "window_pass.sql", "kept": BENCH / "window_pass_rows.sql"},
        SIGNALS_VARIABLES,
        SIGNALS_SELECTION,
    )
    with duckdb.connect(str(database), read_only=True) as connection:
        turns = connection.sql(f"select count(*) from {_bench_run.SCHEMA}.turns").fetchone()[0]
        statuses = dict(
            connection.sql(
                f"select feature_name, status from {_bench_run.SCHEMA}.drift_summary where segment_name = 'all'"
            ).fetchall()
        )
    wrong = [name for name in DRIFTED if statuses.get(name) not in ("warn", "alert")]
    wrong += [name for name in STABLE if statuses.get(name) != "ok"]
    if wrong or turns != rows["traces"]:
        raise Failed(f"signals: {turns} turns of {rows['traces']} traces; drift misjudged in {wrong}: {statuses}")
    kept = medians["kept"]
    lines = lines_against_plan("signals", "one sorted window pass", "signals and drift", medians, 3.0)
    lines.append(Line("signals", "the pass, every column kept", kept, kept["wall"] / medians["reference"]["wall"]))
    return Outcome(
        lines,
        {"scale": options.scale, "rows": rows, "drift": statuses, "medians": medians, "runs": runs},
        {"signals": _bench_run.model_times(engine.target(database))},
    )


def turns(options: Options) -> Outcome:
    """Turns with text, against a bare comparison of their words."""
    engine = options.engine("turns")
    number = round(TURNS * options.scale)
    full, empty = engine.database("full"), engine.database("empty")
    _bench_run.apart(_bench_turns.make, full, number)
    _bench_run.apart(_bench_turns.make, empty, 0)
    options.say(f"turns: {number:,} turns with text")
    runs, medians = against_plan(
        options,
        engine,
        (full, empty),
        {"reference": BENCH / "token_jaccard.sql"},
        _bench_turns.VARIABLES,
        _bench_turns.SELECTION,
    )
    return Outcome(
        lines_against_plan("turns", "bare comparison of words", f"{number:,} turns with text", medians, 4.0),
        {
            "turns": number,
            "medians": medians,
            "runs": runs,
            "scans_of_raw_traces": _bench_turns.scans_of_raw_traces(full, engine.target(full)),
        },
        {"turns": _bench_run.model_times(engine.target(full))},
    )


def drift(options: Options) -> Outcome:
    """Twenty columns, reference against one window, every measure exact, against a plan by hand."""
    engine = options.engine("drift")
    number = round(DRIFT_ROWS * options.scale)
    full, empty = engine.database("full"), engine.database("empty")
    _bench_run.apart(_bench_drift.make, full, number)
    _bench_run.apart(_bench_drift.make, empty, 0)
    options.say(f"drift: twenty columns, {number:,} rows a side")
    plan = engine.work / "plan.sql"
    plan.write_text(_bench_drift.plan())
    runs, medians = against_plan(
        options, engine, (full, empty), {"reference": plan}, _bench_drift.VARIABLES, _bench_drift.SELECTION
    )
    return Outcome(
        lines_against_plan("drift", "plan by hand", f"20 columns, {number:,} rows a side", medians, 1.5),
        {
            "rows": number,
            "medians": medians,
            "runs": runs,
            "largest_difference": _bench_drift.largest_difference(full),
        },
        {"drift": _bench_run.model_times(engine.target(full))},
    )


def against_plan(
    options: Options,
    engine: Engine,
    databases: tuple[Path, Path],
    plans: Mapping[str, Path],
    variables: Mapping[str, Any],
    selection: str,
) -> tuple[dict[str, list[Usage]], dict[str, Usage]]:
    """The package on a file and on one with empty tables, and statements by hand, in turn."""
    database, empty = databases
    for path in databases:
        engine.dbt(path, "parse", variables)
    jobs = {
        **{name: functools.partial(engine.plan, database, plan, name) for name, plan in plans.items()},
        "fixed": lambda: build(engine, empty, variables, selection),
        "package": lambda: build(engine, database, variables, selection),
    }
    return rounds(options.repeats, jobs)


def lines_against_plan(suite: str, plan: str, job: str, medians: Mapping[str, Usage], target: float) -> list[Line]:
    package, fixed, reference = (medians[name] for name in ("package", "fixed", "reference"))
    return [
        Line(suite, plan, reference, 1.0),
        Line(suite, "package, empty tables (fixed cost)", fixed),
        Line(suite, f"package: {job}", package, package["wall"] / reference["wall"]),
        Line(suite, f"(package - fixed) / {plan}, wall", {}, share(package, fixed, reference["wall"]), target),
        Line(suite, f"(package - fixed) / {plan}, CPU", {}, share(package, fixed, reference["cpu"], "cpu")),
    ]


SUITES: dict[str, Callable[[Options], Outcome]] = {
    "full": full,
    "experiments": experiments,
    "memory": memory,
    "incremental": incremental,
    "incremental_signals": incremental_signals,
    "signals": signals,
    "turns": turns,
    "drift": drift,
}
