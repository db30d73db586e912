"""Lints the SQL with sqlfluff and its dbt templater, in a copy of the project where the statistics are short.

A normal quantile or a Student t tail fills pages once expanded: sqlfluff then takes minutes for a model, or gives up.
In the copy each of these macros is a plain function call, so that what is linted is what stands in the model.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPY = ROOT / "target" / "lint" / "project"
FILES = ("dbt_project.yml", "profiles.yml", ".sqlfluff")
FOLDERS = ("models", "macros", "seeds", "analyses", "tests")
LINTED = ("models", "analyses", "tests")
# Patterns of a thousand words, and functions of functions that sqlfluff's dialect does not know.
TEXT_MACROS = ("replace_pattern", "shared_words", "cosine_similarity")
# sqlfluff, without the collector: its trees live as long as a file is linted, and looking for waste among them takes a
# fifth of the time.
SQLFLUFF = "import gc; gc.disable(); from sqlfluff.cli.commands import cli; cli(prog_name='sqlfluff')"
# A loop over metrics is linted once for each: of the example's metrics those that reach every line of the models.
METRICS = (
    *("task_completion", "revenue_per_user", "usage_seconds_median", "activation", "regenerations_per_session"),
    *("active_days", "latency_p95"),
)
FEWER_METRICS = """
{%- macro example_config() -%}
    {%- set whole = evalhouse.whole_example_config() -%}
    {%- do return(dict(
        whole,
        metrics=whole.metrics | selectattr('name', 'in', METRICS) | list,
        guardrails=whole.guardrails | selectattr('metric', 'in', METRICS) | list
    )) -%}
{%- endmacro -%}
"""
MACRO = re.compile(r"\{%-?\s*macro\s+(\w+)\s*\(([^)]*)\)\s*-?%\}")


def shortened(text: str) -> str:
    """Each macro as a call of a function by its name."""
    macros = []
    for name, arguments in MACRO.findall(text):
        every = [part.split("=")[0].strip() for part in arguments.split(",") if part.strip()]
        # A pattern stands in quotes in the SQL, which a call of a function would lack.
        names = ", ".join(name for name in every if name not in ("pattern", "replacement"))
        # An argument may be a bare sign.
        call = f"{name}({{{{ [{names}] | reject('in', ['+', '-']) | join(', ') }}}})"
        macros.append(f"{{% macro {name}({arguments}) -%}}{call}{{%- endmacro %}}\n")
    return "".join(macros)


def main() -> int:
    shutil.rmtree(COPY, ignore_errors=True)
    COPY.mkdir(parents=True)
    for name in FILES:
        shutil.copy(ROOT / name, COPY)
    for folder in FOLDERS:
        if (ROOT / folder).is_dir():
            shutil.copytree(ROOT / folder, COPY / folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    macros = COPY / "macros"
    patterns = [macros / "portability" / f"{name}.sql" for name in TEXT_MACROS]
    for path in [*(macros / "statistics").glob("*.sql"), *patterns]:
        path.write_text(shortened(path.read_text()))
    example = macros / "config" / "example_config.sql"
    whole = example.read_text().replace("macro example_config()", "macro whole_example_config()")
    example.write_text(whole + FEWER_METRICS.replace("METRICS", str(METRICS)))
    environment = {
        **os.environ,
        "EVALHOUSE_DUCKDB_PATH": str(COPY / "lint.duckdb"),
        "DBT_PROFILES_DIR": str(COPY),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    bin_folder = Path(sys.executable).parent
    # Some models read the columns of the raw tables while they compile.
    seeded = subprocess.run([bin_folder / "dbt", "--quiet", "seed", "--target", "duckdb"], cwd=COPY, env=environment)
    if seeded.returncode:
        return seeded.returncode
    linted = [folder for folder in LINTED if any((COPY / folder).rglob("*.sql"))]
    command = [sys.executable, "-c", SQLFLUFF, "lint", "--disable-progress-bar", *linted]
    return subprocess.run(command, cwd=COPY, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
