"""The package as a thing to install: strict dbt, complete documentation, and the rules that keep it portable."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import harness
import pandas as pd
import pytest
import yaml
from dbt_common.clients.jinja import get_environment
from jinja2 import nodes

ROOT = harness.ROOT
PACKAGE = "evalhouse"
PACKAGE_FOLDERS = ("models", "macros", "seeds", "analyses", "tests")
MAX_PRIMITIVES = 15

# dbt validates YAML against its schemas only for the adapters in this set, and DuckDB is not one of them.
STRICT_PARSE = """
import json, sys
import dbt.jsonschemas.jsonschemas as schemas
from dbt.cli.main import dbtRunner
schemas._JSONSCHEMA_SUPPORTED_ADAPTERS.add("duckdb")
complaints = []
def keep(event):
    if event.info.level in ("warn", "error"):
        complaints.append(event.info.msg)
outcome = dbtRunner(callbacks=[keep]).invoke(sys.argv[2:])
if outcome.exception is not None:
    complaints.append(str(outcome.exception))
with open(sys.argv[1], "w") as file:
    json.dump({"success": bool(outcome.success), "complaints": complaints}, file)
"""

REQUIRED_COLUMNS = {
    "exposures": {"experiment_id": "text", "variation_id": "text", "unit_id": "text", "exposed_at": "timestamp"},
    "outcomes": {"outcome_id": "text", "unit_id": "text", "event_name": "text", "occurred_at": "timestamp"},
}


def files(folder: str, *suffixes: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*") if path.suffix in suffixes)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def without_comments(text: str) -> str:
    """The text with the comments of Jinja and SQL blanked; line numbers stay."""
    text = re.sub(r"\{#.*?#\}|/\*.*?\*/", lambda match: "\n" * match.group().count("\n"), text, flags=re.DOTALL)
    return re.sub(r"--.*", "", text)


def matches(pattern: str, paths: list[Path]) -> list[str]:
    found = []
    for path in paths:
        text = without_comments(path.read_text())
        for match in re.finditer(pattern, text, flags=re.IGNORECASE):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{relative(path)}:{line}: {match.group().strip()}")
    return found


def copy_package(target: Path) -> Path:
    """What dbt needs of the package, without the environment and the build."""
    target.mkdir()
    shutil.copy(ROOT / "dbt_project.yml", target)
    for folder in PACKAGE_FOLDERS:
        if (ROOT / folder).is_dir():
            shutil.copytree(ROOT / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    return target


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_package(tmp_path_factory.mktemp("package") / PACKAGE)


def parse_strictly(project: Path, directory: Path) -> dict[str, Any]:
    """The complaints of a parse with every check on, and the manifest."""
    settings = yaml.safe_load((project / "dbt_project.yml").read_text())
    settings.setdefault("flags", {})["validate_macro_args"] = True
    (project / "dbt_project.yml").write_text(yaml.safe_dump(settings))
    answer = directory / "answer.json"
    options = {
        "--project-dir": project,
        "--profiles-dir": ROOT,
        "--profile": PACKAGE,
        "--target": "duckdb",
        "--target-path": directory / "target",
        "--log-path": directory / "logs",
    }
    switches = "--no-partial-parse --show-all-deprecations --no-use-colors --quiet --no-send-anonymous-usage-stats"
    command = [sys.executable, "-c", STRICT_PARSE, str(answer), "parse", *switches.split()]
    for name, value in options.items():
        command += [name, str(value)]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    parsed = json.loads(answer.read_text())
    manifest = directory / "target" / "manifest.json"
    parsed["manifest"] = json.loads(manifest.read_text()) if manifest.exists() else None
    return parsed


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("strict")
    return parse_strictly(copy_package(directory / PACKAGE), directory)


@pytest.fixture(scope="module")
def manifest(strict: dict[str, Any]) -> dict[str, Any]:
    assert strict["manifest"] is not None, strict["complaints"]
    return strict["manifest"]


def models(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        node
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and node["package_name"] == PACKAGE
    ]


def test_strict_parse_has_no_complaint(strict: dict[str, Any]) -> None:
    assert strict["success"], "\n".join(strict["complaints"])
    assert not strict["complaints"], "\n".join(strict["complaints"])


def test_the_strict_parse_can_fail(tmp_path: Path) -> None:
    """A misspelt config key must be seen, or the test above sees nothing."""
    project = tmp_path / "broken"
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: broken\nconfig-version: 2\nprofile: evalhouse\n")
    (project / "models" / "one.sql").write_text("select 1 as id\n")
    (project / "models" / "_one.yml").write_text(
        "models:\n  - name: one\n    description: One.\n    config:\n      materialised: view\n"
    )
    assert "materialised" in "\n".join(parse_strictly(project, tmp_path)["complaints"])


def test_every_model_is_described(manifest: dict[str, Any]) -> None:
    missing = [node["name"] for node in models(manifest) if not node["description"].strip()]
    assert not missing, f"models without a description: {missing}"


def test_every_documented_column_is_described(manifest: dict[str, Any]) -> None:
    missing = [
        f"{node['name']}.{column['name']}"
        for node in models(manifest)
        for column in node["columns"].values()
        if not column["description"].strip()
    ]
    assert not missing, f"columns without a description: {missing}"


@functools.cache
def signatures() -> dict[str, tuple[str, ...]]:
    """The arguments of each macro of ours, from its definition."""
    found: dict[str, tuple[str, ...]] = {}
    for path in files("macros", ".sql"):
        tree = get_environment(None, capture_macros=False).parse(path.read_text())
        for macro in tree.find_all(nodes.Macro):
            name = macro.name.removeprefix("dbt_macro__")
            found[name] = tuple(argument.name for argument in macro.args)
    return found


def is_public(name: str) -> bool:
    """Not private, and not one engine's form of a dispatched macro."""
    return not name.startswith("_") and "__" not in name


def test_every_macro_is_documented_as_it_is_called(manifest: dict[str, Any]) -> None:
    documented = {macro["name"]: macro for macro in manifest["macros"].values() if macro["package_name"] == PACKAGE}
    complaints = []
    for name, arguments in signatures().items():
        if not is_public(name):
            continue
        macro = documented[name]
        if not macro["description"].strip():
            complaints.append(f"{name}: no description")
        if macro["patch_path"] is None:
            complaints.append(f"{name}: not in a YAML file")
            continue
        described = tuple(argument["name"] for argument in macro["arguments"])
        if described != arguments:
            complaints.append(f"{name}: documented {described}, defined {arguments}")
        complaints += [
            f"{name}: {argument['name']} lacks a type or a description"
            for argument in macro["arguments"]
            if not argument.get("type") or not argument["description"].strip()
        ]
    assert signatures(), "no macro found"
    assert not complaints, "\n".join(complaints)


def test_dispatch_stays_in_the_closed_list() -> None:
    sources = [path for folder in ("macros", "models", "tests", "analyses") for path in files(folder, ".sql")]
    calls = [(path, call) for path in sources for call in matches(r"adapter\s*\.\s*dispatch\s*\([^)]*\)", [path])]
    outside = [call for path, call in calls if "portability" not in path.parts]
    assert not outside, f"adapter.dispatch outside macros/portability: {outside}"
    primitives = {name for _, call in calls for name in re.findall(r"dispatch\s*\(\s*['\"](\w+)['\"]", call)}
    assert primitives
    assert len(primitives) <= MAX_PRIMITIVES, sorted(primitives)
    namespaces = [call for _, call in calls if not re.search(rf"['\"]{PACKAGE}['\"]\s*\)$", call)]
    assert not namespaces, f"dispatch without the package's namespace: {namespaces}"


def test_every_ref_names_the_package() -> None:
    sources = [path for folder in ("models", "macros", "tests", "analyses") for path in files(folder, ".sql", ".yml")]
    unnamed = matches(rf"(?<![\w.])ref\s*\(\s*(?!['\"]{PACKAGE}['\"]\s*,)[^)]*\)", sources)
    assert not unnamed, "\n".join(unnamed)


def test_models_do_not_read_the_clock_or_draw_lots() -> None:
    sources = [path for folder in ("models", "macros") for path in files(folder, ".sql")]
    clock = r"current_timestamp|current_date|current_time|localtimestamp|getdate|sysdate|statement_timestamp"
    lots = r"(?:now|random|rand|setseed|uuid|gen_random_uuid|clock_timestamp|today)\s*\(|tablesample|run_started_at"
    found = matches(rf"\b(?:{clock})\b|(?<![\w.])(?:{lots})", sources)
    assert not found, "\n".join(found)


def test_lines_are_at_most_120_characters() -> None:
    sources = [path for folder in ("models", "macros", "tests", "analyses") for path in files(folder, ".sql")]
    long = [
        f"{relative(path)}:{number}: {len(line)}"
        for path in sources
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > 120
    ]
    assert not long, "\n".join(long)


def test_no_file_names_a_machine_or_an_index() -> None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert paths
    # Put together here, so that this file passes.
    folders = [f"/{name}/" for name in ("work", "root", "home", "Users")] + [f"{ROOT}/"]
    hosts = [f"{name}.org" for name in ("pypi", "pythonhosted", "npmjs")]
    whole_folder = r"(?<![\w.~})-])(?:" + "|".join(map(re.escape, folders)) + ")"
    forbidden = re.compile("|".join([whole_folder, *map(re.escape, hosts)]))
    found = []
    for path in paths:
        if not path.is_file():
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if forbidden.search(line):
                found.append(f"{relative(path)}:{number}: {line.strip()[:120]}")
    assert not found, "\n".join(found)


# A project that installs the package and configures nothing.


@pytest.fixture(scope="module")
def consumer(package: Path, manifest: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It owns a model by the name of each of ours: whatever dbt looks up by a bare name then meets the wrong one."""
    project = tmp_path_factory.mktemp("consumer") / "shop"
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: shop\nversion: 1.0.0\nconfig-version: 2\nprofile: evalhouse\n")
    (project / "packages.yml").write_text(yaml.safe_dump({"packages": [{"local": str(package)}]}))
    for node in models(manifest):
        (project / "models" / f"{node['name']}.sql").write_text("select 'mine' as owner\n")
    return project


@pytest.fixture(scope="module")
def installed(
    engine: str, consumer: Path, warehouse_factory: Callable[..., harness.Warehouse]
) -> Iterator[tuple[harness.Warehouse, harness.DbtResult]]:
    """The consumer's warehouse after `dbt build` over raw tables with the required columns and no row."""
    warehouse = warehouse_factory(engine, project_dir=consumer)
    for table, columns in REQUIRED_COLUMNS.items():
        warehouse.load(table, pd.DataFrame(columns=list(columns)), types=columns)
    warehouse.dbt("deps")
    built = warehouse.dbt("build", expect_success=None)
    yield warehouse, built
    warehouse.close()


def test_consumer_builds_over_empty_tables(installed: tuple[harness.Warehouse, harness.DbtResult]) -> None:
    _, built = installed
    assert built.success, built.error + "\n" + built.log
    assert not built.warnings, built.warnings
    ours = [item.node for item in built.result.results if item.node.package_name == PACKAGE]
    assert "experiment_results" in {node.name for node in ours}


def test_consumer_keeps_its_models_of_the_same_names(installed: tuple[harness.Warehouse, harness.DbtResult]) -> None:
    warehouse, _ = installed
    own_schema = warehouse.mart_schema.removesuffix("_evalhouse")
    assert warehouse.sql(f"select * from {own_schema}.experiment_results")["owner"].tolist() == ["mine"]
    assert len(warehouse.mart("experiment_results")) == 0


def test_consumer_gets_no_seed_of_ours(installed: tuple[harness.Warehouse, harness.DbtResult]) -> None:
    warehouse, _ = installed
    listed = warehouse.dbt(["ls", "--resource-type", "seed"], expect_success=None).result or []
    assert [name for name in listed if name.startswith(f"{PACKAGE}.")] == []


def test_every_column_of_a_mart_is_documented(
    installed: tuple[harness.Warehouse, harness.DbtResult], manifest: dict[str, Any]
) -> None:
    warehouse, built = installed
    documented = {node["name"]: set(node["columns"]) for node in models(manifest)}
    complaints = []
    marts = [
        item.node
        for item in built.result.results
        if item.node.resource_type == "model" and item.node.package_name == PACKAGE and "marts" in item.node.fqn
    ]
    assert marts
    for node in marts:
        columns = set(warehouse.sql(f"select * from {node.schema}.{node.alias}").columns)
        complaints += [f"{node.name}.{name}: not documented" for name in sorted(columns - documented[node.name])]
        complaints += [f"{node.name}.{name}: does not exist" for name in sorted(documented[node.name] - columns)]
    assert not complaints, "\n".join(complaints)
