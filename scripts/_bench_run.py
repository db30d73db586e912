"""What the benchmark starts and how it measures it: dbt, plans by hand, the peer, each in a process of its own.

DuckDB gets the same settings everywhere: those of the repository's profile, and what the command line says about memory
and threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
PEER_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
PEER_STAMP = ROOT / ".venv-bench" / ".installed"
# Where the models of the package are: the profile's schema and that of dbt_project.yml.
SCHEMA = "main_evalhouse"

Usage = dict[str, float]


class Failed(Exception):
    """A measured process ended with an error, or plans disagree; the text is what was said."""

    def __init__(self, message: str, usage: Usage | None = None) -> None:
        super().__init__(message)
        self.usage = usage or {}


def measure(
    command: Sequence[str], environment: Mapping[str, str] | None = None, spill: Path | None = None
) -> tuple[Usage, str]:
    """Runs a command; wall clock and CPU seconds and peak resident memory of it and what it started, and its output.

    `spill` is a folder for DuckDB's temporary files, whose largest size is noted. Memory is counted from the fork on,
    when the child still is a copy of this process: what needs much memory must not run in this one.
    """
    peak, stop = [0.0], threading.Event()

    def watch(folder: Path) -> None:
        while not stop.wait(0.1):
            peak[0] = max(peak[0], size_mb(folder))

    watcher = threading.Thread(target=watch, args=(spill,)) if spill else None
    started = time.perf_counter()
    with subprocess.Popen(
        command, env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        if watcher:
            watcher.start()
        output = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    if watcher:
        stop.set()
        watcher.join()
    # Linux counts kibibytes, macOS bytes.
    memory = used.ru_maxrss if sys.platform == "darwin" else used.ru_maxrss * 1024
    usage = {"wall": wall, "cpu": used.ru_utime + used.ru_stime, "memory_mb": memory / 1e6}
    usage |= {"spill_mb": peak[0]} if spill else {}
    if process.returncode:
        raise Failed(f"exit code {process.returncode}: {' '.join(command[:5])} ...\n{output}", usage)
    return usage, output


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function in a process of its own, which keeps this one small: see `measure`."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def size_mb(folder: Path) -> float:
    """Megabytes of the files in a folder; both it and they may come and go."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total / 1e6


def median(runs: Sequence[Usage]) -> Usage:
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


@dataclass(frozen=True)
class Engine:
    """The folder a suite works in, and the settings of every DuckDB that it starts."""

    work: Path
    memory_limit: str | None = None
    threads: int | None = None
    dbt_threads: int | None = None
    settings: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.work.mkdir(parents=True, exist_ok=True)
        profiles = yaml.safe_load((ROOT / "profiles.yml").read_text())
        target = profiles["evalhouse"]["outputs"]["duckdb"]
        own = {"memory_limit": self.memory_limit, "threads": self.threads, "temp_directory": str(self.spill)}
        settings = {**target.get("settings", {}), **{name: value for name, value in own.items() if value}}
        # dbt sets its settings anew for each model, and a folder that spilled files lie in can't be set any more.
        target["settings"] = {name: value for name, value in settings.items() if name != "temp_directory"}
        target["config_options"] = {"temp_directory": settings["temp_directory"]}
        if self.dbt_threads:
            target["threads"] = self.dbt_threads
        (self.work / "profiles.yml").write_text(yaml.safe_dump(profiles, sort_keys=False))
        object.__setattr__(self, "settings", settings)

    @property
    def spill(self) -> Path:
        return self.work / "spill"

    def database(self, name: str) -> Path:
        """The path of a new DuckDB file."""
        path = self.work / f"{name}.duckdb"
        for leftover in self.work.glob(f"{path.name}*"):
            leftover.unlink()
        return path

    def generate(self, name: str, *options: str) -> tuple[Path, dict[str, int]]:
        """A DuckDB file with raw tables, and their numbers of rows; one that was kept, if it is of the same making."""
        script = ROOT / "scripts" / "_bench_data.py"
        making = [hashlib.sha256(script.read_bytes()).hexdigest(), importlib.metadata.version("duckdb"), *options]
        path = self.work / f"{name}.duckdb"
        label = self.work / f"{path.name}.json"
        known = json.loads(label.read_text()) if label.exists() and path.exists() else {}
        if known.get("making") == making:
            return path, known["rows"]
        self.database(name)
        _, output = measure([sys.executable, str(script), str(path), "--settings", json.dumps(self.settings), *options])
        rows = json.loads(output)
        label.write_text(json.dumps({"making": making, "rows": rows}))
        return path, rows

    def dbt(self, database: Path, word: str, variables: Mapping[str, Any], selection: str = "", *options: str) -> Usage:
        command = [sys.executable, "-m", "dbt.cli.main", "--quiet", word, "--project-dir", str(ROOT)]
        command += ["--profiles-dir", str(self.work), "--target", "duckdb"]
        command += ["--target-path", str(self.target(database)), "--log-path", str(self.target(database))]
        command += ["--vars", json.dumps(variables, sort_keys=True)]
        command += ["--select", *selection.split()] if selection else []
        environment = {"EVALHOUSE_DUCKDB_PATH": str(database), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
        return measure([*command, *options], environment, self.spill)[0]

    def target(self, database: Path) -> Path:
        """dbt's target folder for a file: scheduled runs find a parsed project."""
        return self.work / f"target_{database.stem}"

    def plan(self, database: Path, plan: Path, table: str = "reference") -> Usage:
        """Runs a statement by hand; its result becomes a table."""
        command = [sys.executable, "-c", _PLAN, str(database), str(plan), table, json.dumps(self.settings)]
        return measure(command)[0]

    def peer(self, database: Path) -> tuple[Usage, list[dict[str, Any]]]:
        """tea-tasting's loop over the experiments, and its effects."""
        script = str(ROOT / "scripts" / "_bench_tea_tasting.py")
        usage, output = measure([str(PEER_PYTHON), script, str(database), json.dumps(self.settings)])
        return usage, json.loads(output.splitlines()[-1])


_PLAN = """
import json, sys, duckdb
database, plan, table, settings = sys.argv[1:]
with duckdb.connect(database) as connection:
    for name, value in json.loads(settings).items():
        connection.execute(f"set {name} = '{value}'")
    connection.execute(f"create or replace table {table} as " + open(plan).read())
"""


def model_times(target: Path) -> dict[str, float]:
    """Seconds that each model took in the last run, the slowest first."""
    results = json.loads((target / "run_results.json").read_text())["results"]
    times = {item["unique_id"].split(".")[-1]: round(item["execution_time"], 3) for item in results}
    return dict(sorted(times.items(), key=lambda item: -item[1]))


def marts(target: Path) -> list[str]:
    """Names of the marts that the last run built."""
    manifest = json.loads((target / "manifest.json").read_text())["nodes"]
    results = json.loads((target / "run_results.json").read_text())["results"]
    built = [manifest[item["unique_id"]] for item in results]
    return sorted(node["name"] for node in built if node["path"].startswith("marts"))


def unfinished(target: Path) -> list[str]:
    """Models that the last run has not built."""
    manifest = json.loads((target / "manifest.json").read_text())["nodes"].values()
    # An ephemeral model is part of those that read it.
    wanted = {
        node["name"]
        for node in manifest
        if node["resource_type"] == "model" and node["config"]["materialized"] != "ephemeral"
    }
    results = target / "run_results.json"
    built = json.loads(results.read_text())["results"] if results.exists() else []
    return sorted(wanted - {item["unique_id"].split(".")[-1] for item in built if item["status"] == "success"})


def has_peer() -> bool:
    """Whether the peer's environment was made."""
    return PEER_STAMP.exists()


def surroundings() -> dict[str, Any]:
    """Machine and versions, for the record."""
    packages = {}
    for name in ("duckdb", "dbt-core", "dbt-adapters", "dbt-duckdb"):
        packages[name] = importlib.metadata.version(name)
    model = [line.partition(":")[2].strip() for line in cpu_lines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    return {
        "machine": {
            "cores": os.cpu_count(),
            "processor": model[0] if model else platform.processor(),
            "memory_mb": round(memory),
            "platform": platform.platform(),
        },
        "versions": {"python": platform.python_version(), **packages, "peer": peer_versions()},
    }


def load() -> float:
    """The load average of the last minute."""
    return round(os.getloadavg()[0], 2)


class Bystanders:
    """How much of the machine other programs took since this was made: a share of all cores, or None off Linux."""

    def __init__(self) -> None:
        self._start = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float] | None:
        path = Path("/proc/stat")
        if not path.exists():
            return None
        ticks = [int(number) for number in path.read_text().splitlines()[0].split()[1:9]]
        seconds = [number / os.sysconf("SC_CLK_TCK") for number in ticks]
        idle = seconds[3] + seconds[4]
        own = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return sum(seconds), sum(seconds) - idle, own

    def share(self) -> float | None:
        """Busy time that is not of this process and what it waited for, of all time."""
        if self._start is None:
            return None
        total, busy, own = (new - old for new, old in zip(self._now(), self._start, strict=True))
        return round(max(0.0, busy - own) / total, 3) if total else 0.0


def cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def peer_versions() -> dict[str, str] | None:
    """Versions in the peer's environment, or None where it is not installed."""
    if not has_peer():
        return None
    names = ["tea-tasting", "ibis-framework", "duckdb"]
    code = f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {names}}}))"
    outcome = subprocess.run([str(PEER_PYTHON), "-c", code], capture_output=True, text=True)
    return json.loads(outcome.stdout) if outcome.returncode == 0 else None
