"""Runs the programs of scripts/ against a warehouse of the tests."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from unittest import mock

import harness

SCRIPTS = harness.ROOT / "scripts"
# They import each other by name, as they do where they are started.
if str(SCRIPTS) not in sys.path:
    sys.path.insert(0, str(SCRIPTS))


@dataclass
class Outcome:
    code: int
    out: str
    err: str


def _setting(warehouse: harness.Warehouse) -> tuple[dict[str, str], list[str]]:
    warehouse._activate()
    words = ["--project-dir", str(warehouse.project_dir), "--profiles-dir", str(harness.ROOT)]
    return warehouse._environment(), [*words, "--profile", "evalhouse", "--target", warehouse.engine]


def call(main: Callable[[Sequence[str]], int], warehouse: harness.Warehouse, *words: str, **env: str) -> Outcome:
    """The program in this process, which is quicker."""
    environment, options = _setting(warehouse)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.dict(os.environ, {**environment, **env}))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.callback(harness._release_duckdb)
        code = main([*words, *options])
    return Outcome(code, out.getvalue(), err.getvalue())


def start(script: str, warehouse: harness.Warehouse, *words: str, **env: str) -> Outcome:
    """The program in a process of its own, as people start it."""
    environment, options = _setting(warehouse)
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *words, *options],
        env={**os.environ, **environment, **env},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)
