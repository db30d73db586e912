"""The warehouse of a dbt project, for scripts: opened through dbt's own profile and adapter, models found by name.

Whatever dbt can reach, with whatever schema names a project uses, a script reaches too. Needs nothing but dbt, which is
imported late: it takes seconds, and not every use of a script needs it.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

PACKAGE = "evalhouse"
ROWS_PER_INSERT = 500


class WarehouseError(Exception):
    """Why the warehouse does not give or take what a script asks for, as a sentence for its user."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options by which dbt finds a project, a profile and a target. Without them dbt's own rules apply."""
    group = parser.add_argument_group("where the warehouse is, as for dbt")
    group.add_argument("--project-dir", metavar="DIR", help="folder of dbt_project.yml (default: here)")
    group.add_argument("--profiles-dir", metavar="DIR", help="folder of profiles.yml (default: DBT_PROFILES_DIR, ...)")
    group.add_argument("--profile", help="profile to use instead of the project's")
    group.add_argument("--target", "-t", help="target of the profile (default: the profile's)")
    group.add_argument("--vars", metavar="YAML", help="variables, where the project needs some to be parsed")


class Warehouse:
    def __init__(self, adapter: Any, manifest: Any) -> None:
        self._adapter = adapter
        self._models = {
            node.name: node
            for node in manifest.nodes.values()
            if node.resource_type == "model" and node.package_name == PACKAGE
        }

    @property
    def description(self) -> str:
        """What is open, without credentials."""
        credentials = self._adapter.config.credentials
        if self._adapter.type() == "duckdb":
            return str(credentials.path)
        return f"the {self._adapter.type()} database {credentials.database}"

    def has_model(self, name: str) -> bool:
        """Whether the project has the model, built or not."""
        return name in self._models

    def relation(self, name: str, kinds: Sequence[str] = ("table", "view")) -> str:
        """The quoted full name of a built model."""
        if name not in self._models:
            raise WarehouseError(f"the project has no enabled model {PACKAGE}.{name}")
        node = self._models[name]
        with _as_warehouse_error():
            found = self._adapter.get_relation(database=node.database, schema=node.schema, identifier=node.alias)
        if found is None:
            raise WarehouseError(f"{node.schema}.{node.alias} does not exist in {self.description}; run dbt first")
        kind = getattr(found.type, "value", found.type)
        if kind is not None and kind not in kinds:
            raise WarehouseError(f"{node.schema}.{node.alias} is a {kind}, but must be a {' or '.join(kinds)}")
        return node.relation_name

    def schema(self, name: str) -> str:
        """The schema that the project gives a model."""
        return self._models[name].schema

    def columns(self, name: str) -> list[str]:
        """The names of a built model's columns, in lower case."""
        node = self._models[name]
        with _as_warehouse_error():
            found = self._adapter.get_relation(database=node.database, schema=node.schema, identifier=node.alias)
            return [column.name.lower() for column in self._adapter.get_columns_in_relation(found)]

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The result of a query, with the driver's Python values."""
        names, values = self._select(query)
        return [dict(zip(names, row, strict=True)) for row in values]

    def frame(self, query: str) -> pd.DataFrame:
        """The same as a data frame."""
        import pandas as pd

        names, values = self._select(query)
        return pd.DataFrame.from_records(values, columns=names, coerce_float=True)

    def model(self, name: str) -> pd.DataFrame:
        """All of a built model."""
        return self.frame(f"select * from {self.relation(name)}")

    def replace_rows(self, name: str, keys: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes rows into a built table in one transaction, in place of those that have one of their keys."""
        relation = self.relation(name, kinds=("table",))
        if not rows:
            return
        columns = list(rows[0])
        replaced = dict.fromkeys(tuple(row[key] for key in keys) for row in rows)
        conditions = [
            " and ".join(f"{key} = {_literal(value)}" for key, value in zip(keys, values, strict=True))
            for values in replaced
        ]
        statements = [f"delete from {relation} where " + " or ".join(f"({condition})" for condition in conditions)]
        if self._adapter.type() == "postgres":
            # Two runs at once would both delete the old rows and both insert theirs.
            statements.insert(0, f"lock table {relation} in share row exclusive mode")
        for start in range(0, len(rows), ROWS_PER_INSERT):
            values = ", ".join(
                "(" + ", ".join(_literal(row[column]) for column in columns) + ")"
                for row in rows[start : start + ROWS_PER_INSERT]
            )
            statements.append(f"insert into {relation} ({', '.join(columns)}) values {values}")
        self._execute(statements)

    def replace_table(self, relation: str, query: str) -> None:
        """Puts the rows of a query into a table of the user's own, named in full, in place of what it held."""
        self._execute([f"drop table if exists {relation}", f"create table {relation} as {query}"])

    def _execute(self, statements: Sequence[str]) -> None:
        """All statements in one transaction, or none."""
        with _as_warehouse_error():
            try:
                for statement in statements:
                    self._adapter.execute(statement, auto_begin=True)
                self._adapter.connections.commit_if_has_connection()
                if self._adapter.type() == "postgres":
                    # dbt commits by a statement, of which the driver does not know: without this the next transaction
                    # would not begin.
                    self._adapter.connections.get_thread_connection().handle.commit()
            except BaseException:
                self._adapter.connections.rollback_if_open()
                raise

    def _select(self, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        with _as_warehouse_error():
            _, cursor = self._adapter.connections.add_query(query, auto_begin=False)
            return [column[0].lower() for column in cursor.description], cursor.fetchall()


@contextlib.contextmanager
def open_warehouse(arguments: argparse.Namespace, read_only: bool = False) -> Iterator[Warehouse]:
    """Parses the project and connects to its target. `read_only` lets a DuckDB file be read beside other readers."""
    from dbt.adapters.factory import get_adapter_by_type

    manifest = _parse(arguments)
    with _as_warehouse_error():
        adapter = get_adapter_by_type(manifest.metadata.adapter_type)
    credentials = adapter.config.credentials
    directory = Path.cwd()
    # dbt too runs in the project's folder: a relative path of a DuckDB file starts there.
    os.chdir(adapter.config.project_root)
    try:
        if adapter.type() == "duckdb":
            _prepare_duckdb(credentials, read_only)
        with contextlib.ExitStack() as stack:
            with _as_warehouse_error():
                stack.enter_context(adapter.connection_named(PACKAGE))
                # Connections are lazy: this one says whether there is a warehouse.
                adapter.execute("select 1")
            yield Warehouse(adapter, manifest)
    finally:
        adapter.cleanup_connections()
        os.chdir(directory)


def _parse(arguments: argparse.Namespace) -> Any:
    from dbt.cli.main import dbtRunner

    words = ["--quiet", "--log-level", "none", "--log-level-file", "none", "--no-send-anonymous-usage-stats"]
    words += ["--no-write-json", "parse"]
    for name in ("project_dir", "profiles_dir", "profile", "target", "vars"):
        value = getattr(arguments, name)
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    parsed = dbtRunner().invoke(words)
    if not parsed.success:
        raise WarehouseError(f"dbt cannot parse the project: {_one_line(parsed.exception)}")
    return parsed.result


def _prepare_duckdb(credentials: Any, read_only: bool) -> None:
    path = credentials.path
    if ":" not in path and not Path(path).exists():
        # Opening it would leave an empty database behind.
        raise WarehouseError(f"there is no file {path}; run dbt first")
    if read_only and ":" not in path:
        credentials.config_options = {**(credentials.config_options or {}), "access_mode": "read_only"}


def _literal(value: Any) -> str:
    """A value in SQL. Floats keep every digit: with an exponent no engine takes them for decimals."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is no number to be stored")
        return f"{value:.16e}"
    if isinstance(value, str) and "\\" not in value:
        return "'" + value.replace("'", "''") + "'"
    raise TypeError(f"cannot write {value!r}")


@contextlib.contextmanager
def _as_warehouse_error() -> Iterator[None]:
    from dbt_common.exceptions import DbtBaseException

    try:
        yield
    except DbtBaseException as error:
        raise WarehouseError(_one_line(error)) from error


def _one_line(error: BaseException | None) -> str:
    return " ".join(str(error).split())
