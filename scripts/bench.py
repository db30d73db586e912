"""Benchmarks: is the package fast enough, and are its error rates what they claim to be?

    make bench                                              the small set: a few minutes
    make bench ARGS="full incremental --scale 0.2"          suites by name, at a scale of your own
    make bench ARGS="memory --scale 1"                      50 million outcomes with 4 GB of memory
    make bench ARGS="calibration"                           every cell of docs/calibration.md; resumes; a few hours

Every suite makes its own data and runs the package and what it is held against in the same run, each in a process of
its own; their results must agree. Prints one table and leaves a JSON record in bench_results/. docs/benchmarks.md says
what the lines mean.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import _bench_run
import _bench_suites
import calibrate
import simulate
from _bench_suites import Line
from rich import box
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench_results"
SMALL_SET = ("full", "incremental", "signals")
# The share of the machine that others may take before a warning.
QUIET = 0.05
QUICK_EXPERIMENTS = 200
QUICK_SIZES = [100, 500]


def run_suite(name: str, options: _bench_suites.Options, console: Console) -> tuple[dict[str, Any], list[Line]]:
    """A suite's record and its lines. One that fails leaves its error in both, and the next one runs."""
    record: dict[str, Any] = {"load_before": _bench_run.load()}
    started, bystanders = time.perf_counter(), _bench_run.Bystanders()
    try:
        outcome = _bench_suites.SUITES[name](options)
    except _bench_run.Failed as error:
        console.print(f"{name} failed: {error}", style="red", markup=False)
        return {**record, "error": str(error)}, [Line(name, "failed, see above")]
    record |= {"seconds": time.perf_counter() - started, "load_after": _bench_run.load()}
    record |= {"share_of_others": bystanders.share()}
    record |= {"lines": [{**dataclasses.asdict(line), "is_met": line.is_met} for line in outcome.lines]}
    return {**record, **outcome.details, "models": outcome.models}, outcome.lines


def figure(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:,.0f}" if 100 <= number < math.inf else f"{number:.3g}"


def print_lines(lines: list[Line], console: Console) -> None:
    table = Table(box=box.SIMPLE)
    table.add_column("suite", no_wrap=True)
    table.add_column("job")
    for head in ("wall s", "CPU s", "peak MB", "ratio", "target"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("")
    for before, line in zip([None, *lines], lines, strict=False):
        if before and before.suite != line.suite:
            table.add_section()
        usage = [f"{line.usage[key]:,.1f}" if key in line.usage else "" for key in ("wall", "cpu")]
        usage.append(f"{line.usage['memory_mb']:,.0f}" if line.usage else "")
        value, target = (figure(number) for number in (line.value, line.target))
        verdict = "" if line.is_met is None else "met" if line.is_met else "not met"
        if line.target is not None and line.value is None:
            verdict = "not measured"
        table.add_row(line.suite, line.job, *usage, value, target, verdict, style="bold" if verdict else None)
    console.print(table)


def print_models(suites: dict[str, Any], console: Console, number: int = 8) -> None:
    for record in suites.values():
        for title, models in record.get("models", {}).items():
            slowest = ", ".join(f"{name} {seconds:.1f}" for name, seconds in list(models.items())[:number])
            console.print(f"Slowest models, {title} (s): {slowest}")


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
    names = [*_bench_suites.SUITES, "calibration"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"{', '.join(names)}; none: the small set")
    parser.add_argument("--scale", type=positive, default=0.02, help="1 is 50 million outcomes (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=1, help="rounds of which the medians count (default: 1)")
    parser.add_argument("--days", type=int, nargs="+", help="histories of the incremental suites (default: 28 60 90)")
    parser.add_argument("--memory-limit", help="DuckDB's memory_limit, for everything that is measured")
    parser.add_argument("--threads", type=int, help="DuckDB's threads, for everything that is measured")
    parser.add_argument("--dbt-threads", type=int, help="models that dbt builds at once (default: the profile's)")
    parser.add_argument("--quick", action="store_true", help="the small sample of the suite calibration")
    parser.add_argument("--work", type=Path, default=RESULTS / "work", help="folder for data (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep the folder's files")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.suites if name not in names]
    if unknown:
        parser.error(f"unknown suite {unknown[0]}; there are {', '.join(names)}")
    wanted = arguments.suites or list(SMALL_SET)
    histories = tuple(arguments.days or (_bench_suites.HISTORIES if arguments.suites else _bench_suites.HISTORIES[:1]))
    # A log has no width of its own; the table needs this one.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    own = {"memory_limit": arguments.memory_limit, "threads": arguments.threads, "dbt_threads": arguments.dbt_threads}
    options = _bench_suites.Options(
        scale=arguments.scale,
        repeats=arguments.repeats,
        engine=functools.partial(_bench_suites.engine, arguments.work.resolve(), own),
        say=console.print,
        histories=histories,
    )
    record: dict[str, Any] = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "package": calibrate.digest(ROOT),
        "command": sys.argv[1:],
        **_bench_run.surroundings(),
        "suites": {},
    }
    lines: list[Line] = []
    missed: list[str] = []
    for name in wanted:
        if name == "calibration":
            runs, _ = calibration(arguments.quick, console)
            looks = over_time(arguments.quick, console)
            missed = print_calibration(runs, console) + print_over_time(looks, console)
            found = {"is_quick": arguments.quick, "runs": runs, "over_time": looks, "missed": missed}
            record["suites"][name] = found
            continue
        record["suites"][name], added = run_suite(name, options, console)
        lines += added
        if not arguments.keep:
            _bench_suites.clean(arguments.work / name)
    print_lines(lines, console)
    print_models(record["suites"], console)
    for name, suite in record["suites"].items():
        if (suite.get("share_of_others") or 0) > QUIET:
            share = f"{suite['share_of_others']:.0%}"
            console.print(
                f"{name}: other programs took {share} of the machine; wall times mean little.", style="yellow"
            )
    console.print(f"Record: {record_run(record).relative_to(ROOT)}")
    return 1 if missed or any("error" in suite for suite in record["suites"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
