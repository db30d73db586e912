"""The statistics macros against scipy and exact integer arithmetic, on both engines."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import jinja2
import numpy as np
import psycopg2
import pytest
from scipy import special, stats

ROOT = Path(__file__).resolve().parents[2]
FLOOR = 1e-300


class _Returned(Exception):
    def __init__(self, value: Any) -> None:
        self.value = value


def _load_macros() -> jinja2.Environment:
    """The macros in plain Jinja, with as much of dbt's context as they use."""
    environment = jinja2.Environment(extensions=["jinja2.ext.do"])
    macros: dict[str, Callable[..., Any]] = {}

    def give(value: Any) -> None:
        raise _Returned(value)

    def register(name: str, macro: Callable[..., Any]) -> None:
        def call(*arguments: Any, **named: Any) -> Any:
            try:
                return str(macro(*arguments, **named))
            except _Returned as returned:
                return returned.value

        macros[name] = call

    class Adapter:
        @staticmethod
        def dispatch(name: str, package: str) -> Callable[..., Any]:
            return macros[f"default__{name}"]

    environment.globals.update({"evalhouse": macros, "return": give, "register": register, "adapter": Adapter})
    for path in [*(ROOT / "macros/statistics").glob("*.sql"), ROOT / "macros/portability/type_double.sql"]:
        text = path.read_text()
        names = re.findall(r"{%-? macro (\w+)", text)
        environment.from_string(text + "".join(f"{{% do register('{name}', {name}) %}}" for name in names)).render()
    return environment


MACROS = _load_macros()


class Database:
    """One connection; `query` renders the macros first."""

    def __init__(self, connection: Any) -> None:
        self._cursor = connection.cursor()

    def execute(self, statement: str) -> None:
        self._cursor.execute(statement)

    def query(self, template: str) -> list[tuple[Any, ...]]:
        self._cursor.execute(MACROS.from_string(template).render())
        return self._cursor.fetchall()

    def load(self, column_type: str = "double precision", **columns: Sequence[float | None]) -> None:
        """Makes the table `cases` of these columns and a row number i."""
        self.execute("drop table if exists cases")
        definitions = ", ".join(f"{name} {column_type}" for name in columns)
        self.execute(f"create temporary table cases (i integer, {definitions})")
        rows = [
            "(" + ", ".join([str(i), *(_literal(value, column_type) for value in row)]) + ")"
            for i, row in enumerate(zip(*columns.values(), strict=True))
        ]
        for start in range(0, len(rows), 2000):
            self.execute(f"insert into cases values {', '.join(rows[start : start + 2000])}")

    def evaluate(self, expression: str, **columns: Sequence[float | None]) -> list[float | None]:
        """The expression's value for each row of the columns."""
        self.load(**columns)
        return [row[0] for row in self.query(f"select {{{{ {expression} }}}} as value from cases order by i")]


def _literal(value: float | None, column_type: str) -> str:
    if value is None:
        return "null"
    text = repr(float(value)) if column_type == "double precision" else repr(value)
    return f"cast('{text}' as {column_type})"


@pytest.fixture(scope="module")
def database(engine: str, request: pytest.FixtureRequest) -> Iterator[Database]:
    if engine == "duckdb":
        connection = duckdb.connect(config={"threads": 2})
    else:
        connection = psycopg2.connect(request.getfixturevalue("postgres_dsn"))
        connection.autocommit = True
    with closing(connection):
        yield Database(connection)


def assert_close(
    values: Sequence[float | None],
    expected: Sequence[float],
    cases: Sequence[Any],
    tolerance: float,
    absolute: bool = False,
) -> None:
    """Every value within the tolerance, relative unless `absolute`; the message names the worst case."""
    assert len(values) == len(expected) == len(cases) > 0
    missing = [case for value, case in zip(values, cases, strict=True) if value is None]
    assert not missing, f"null for {missing[:5]}"
    wanted = np.asarray(expected, float)
    errors = np.abs(np.asarray(values, float) - wanted) / (1.0 if absolute else np.abs(wanted))
    worst = int(np.argmax(np.where(np.isnan(errors), np.inf, errors)))
    kind = "absolute" if absolute else "relative"
    assert errors[worst] <= tolerance, (
        f"worst {kind} error {errors[worst]:.2e} (allowed {tolerance:.0e}) at {cases[worst]}: "
        f"{values[worst]!r} instead of {expected[worst]!r}"
    )


def test_normal_tails(database: Database) -> None:
    x = [*np.linspace(-8, 36.9, 400), 0.0, 1e-12, -1e-9]
    assert_close(database.evaluate("evalhouse.normal_sf('x')", x=x), stats.norm.sf(x), x, 1e-12)
    assert_close(database.evaluate("evalhouse.normal_cdf('-x')", x=x), stats.norm.sf(x), x, 1e-12)
    assert database.evaluate("evalhouse.normal_cdf('x')", x=[-40.0, 40.0]) == [FLOOR, 1.0]


def test_normal_quantile(database: Database) -> None:
    p = [*10.0 ** -np.linspace(0.31, 300, 300), *np.linspace(0.01, 0.49, 49), *np.linspace(0.51, 0.999, 50)]
    assert_close(database.evaluate("evalhouse.normal_quantile('p')", p=p), special.ndtri(p), p, 1e-13)
    outside = [0.0, 1.0, -0.5, 1.5]
    assert database.evaluate("evalhouse.normal_quantile('p')", p=[0.5, *outside]) == [0.0] + [None] * 4


def test_ln_gamma(database: Database) -> None:
    x = [*10.0 ** np.linspace(-300, 9, 200), *np.linspace(0.5, 12, 300)]
    values = database.evaluate("evalhouse.ln_gamma('x')", x=x)
    expected = special.gammaln(x)
    small = np.abs(expected) < 1
    shifted = [None if value is None else value + one for value, one in zip(values, small, strict=True)]
    assert_close(shifted, expected + small, x, 1e-13)
    assert database.evaluate("evalhouse.ln_gamma('x')", x=[0.0, -1.5]) == [None, None]


def _t_cases(dofs: Sequence[float], deviations: Sequence[float]) -> tuple[list[float], list[float]]:
    """Values of t with about the tail of these normal deviations, for every dof."""
    cases = [
        (math.sqrt(dof * math.expm1(min(600.0, deviation**2 / dof))), dof)
        for dof, deviation in itertools.product(dofs, deviations)
    ]
    kept = [case for case in cases if stats.t.sf(*case) > 1e-295]
    return [case[0] for case in kept], [case[1] for case in kept]


DEVIATIONS = [1e-3, 0.1, 0.4, 0.8, 1.2, 1.4, 1.48, 1.52, 1.6, 1.8, 2, 2.5, 3, 4, 5.5, 7.5, 10, 14, 19, 21.5, 26, 33]


@pytest.mark.parametrize(
    ("dofs", "tolerance"),
    [
        ((1, 1.3, 1.7), 1e-9),
        ((2, 2.5, 3, 4.2, 7, 10, 33.3, 100, 1234.5, 1e4), 2e-10),
        ((1e5, 1e6, 1e7), 2e-9),
        ((1e8, 2.9e8), 1e-7),
        ((3.1e8, 1e9, 1e12), 5e-7),
    ],
)
def test_student_t_tails(database: Database, dofs: Sequence[float], tolerance: float) -> None:
    t, dof = _t_cases(dofs, DEVIATIONS)
    cases = list(zip(t, dof, strict=True))
    tail = stats.t.sf(t, dof)
    negative = [-value for value in t]
    assert_close(database.evaluate("evalhouse.student_t_sf('t', 'dof')", t=t, dof=dof), tail, cases, tolerance)
    assert_close(
        database.evaluate("evalhouse.student_t_sf('t', 'dof')", t=negative, dof=dof), 1 - tail, cases, tolerance
    )
    for side in (t, negative):
        values = database.evaluate("evalhouse.student_t_two_sided_p('t', 'dof')", t=side, dof=dof)
        assert_close(values, 2 * tail, cases, tolerance)


def test_student_t_floor(database: Database) -> None:
    cases = {"t": [1e6, -1e6, 50.0, 1e30, 0.0, 1.0, 1.0], "dof": [1e4, 1e9, 1e12, 50.0, 3.0, 0.5, -1.0]}
    values = database.evaluate("evalhouse.student_t_two_sided_p('t', 'dof')", **cases)
    assert values == [FLOOR, FLOOR, FLOOR, FLOOR, 1.0, None, None]
    assert database.evaluate("evalhouse.student_t_sf('t', 'dof')", **cases) == [FLOOR, 1, FLOOR, FLOOR, 0.5, None, None]


QUANTILE = """
    with guessed as materialized (
        select i, p, dof, {{ evalhouse.student_t_quantile_guess('p', 'dof') }} as guess from cases
    ),
    once as materialized (
        select i, p, dof, {{ evalhouse.student_t_quantile_refine('guess', 'p', 'dof') }} as guess from guessed
    )
    select {{ evalhouse.student_t_quantile_refine('guess', 'p', 'dof') }} as value from once order by i
"""


@pytest.mark.parametrize(
    ("dofs", "tolerance"),
    [((1, 1.3, 1.7), 1e-7), ((2, 2.5, 3, 4.2, 7, 10, 33.3, 100, 1234.5, 1e4, 1e5, 1e6, 1e7), 1e-9), ((1e8, 1e9), 1e-6)],
)
def test_student_t_quantile(database: Database, dofs: Sequence[float], tolerance: float) -> None:
    t, dof = _t_cases(dofs, DEVIATIONS[1:])
    tail = stats.t.sf(t, dof)
    database.load(p=tail, dof=dof)
    assert_close([row[0] for row in database.query(QUANTILE)], t, list(zip(tail, dof, strict=True)), tolerance)


def test_student_t_quantile_edges(database: Database) -> None:
    database.load(p=[0.5, 0.5, 0.0, 0.6, 0.025, None, 0.025], dof=[3.0, 1e7, 3.0, 3.0, 0.5, 3.0, None])
    values = [row[0] for row in database.query(QUANTILE)]
    assert values[0] == pytest.approx(0, abs=1e-9)
    assert values[1] == pytest.approx(0, abs=1e-9)
    assert values[2:] == [None] * 5


@pytest.mark.parametrize(
    ("dofs", "tolerance"), [((1, 2, 3, 4, 5, 7, 10, 20, 57, 100, 300, 1000), 1e-11), ((1e4, 1e5, 3.3, 10.5), 2e-9)]
)
def test_chi_square_sf(database: Database, dofs: Sequence[float], tolerance: float) -> None:
    factors = [1e-9, 1e-3, 0.1, 0.5, 0.9, 0.99, 1, 1.01, 1.05, 1.2, 1.5, 2, 3, 5, 10, 30, 100, 400, 1300]
    cases = [(dof * factor, dof) for dof in dofs for factor in factors]
    cases = [case for case in cases if stats.chi2.sf(*case) > 1e-295]
    x, dof = (list(column) for column in zip(*cases, strict=True))
    values = database.evaluate("evalhouse.chi_square_sf('x', 'dof')", x=x, dof=dof)
    assert_close(values, stats.chi2.sf(x, dof), cases, tolerance)


def test_chi_square_sf_edges(database: Database) -> None:
    values = database.evaluate("evalhouse.chi_square_sf('x', 'dof')", x=[0, -3, 1e5, 1e8, 1], dof=[1, 2, 3, 900, 0])
    assert values == [1, 1, FLOOR, FLOOR, None]


def test_kolmogorov_sf(database: Database) -> None:
    x = np.linspace(0.2, 18.5, 400)
    values = database.evaluate("evalhouse.kolmogorov_sf('x')", x=x)
    assert_close(values, special.kolmogorov(x), x, 1e-12)
    assert database.evaluate("evalhouse.kolmogorov_sf('x')", x=[-1, 0, 0.05, 30, 1e9]) == [1, 1, 1, FLOOR, FLOOR]


def _ln_comb(n: int, k: int) -> float:
    return math.log(math.comb(n, k))


def test_ln_hypergeometric_pmf(database: Database) -> None:
    cases = []
    for size in (5, 20, 61, 2000):
        for events, draws in itertools.product({1, 2, 3, size // 3, size // 2, size - 1}, repeat=2):
            low, high = max(0, draws - size + events), min(draws, events)
            middle = events * draws // size
            for k in sorted({low, high, middle, min(high, low + 1), min(high, middle + 4)}):
                cases.append((k, events, size - events, draws))
    cases += [(k, 40, 10**7 - 40, draws) for k in (0, 1, 3, 20, 40) for draws in (100, 3000)]
    expected = [_ln_comb(r, k) + _ln_comb(s, n - k) - _ln_comb(r + s, n) for k, r, s, n in cases]
    # Too large for exact integers: from mpmath's loggamma with 40 digits.
    for case, value in HYPERGEOMETRIC_VECTORS.items():
        cases.append(case)
        expected.append(value)
    values = _pmf(database, "ln_hypergeometric_pmf", cases)
    assert_close(
        [math.expm1(v - e) for v, e in zip(values, expected, strict=True)], [0] * len(cases), cases, 1e-9, True
    )


def test_ln_binomial_pmf(database: Database) -> None:
    cases: list[tuple[float, ...]] = [
        (k, n, p)
        for n in (1, 2, 9, 10, 11, 50, 2000)
        for p in (1e-100, 1e-9, 1e-3, 0.05, 0.3, 0.5, 0.9)
        for k in sorted({0, 1, min(2, n), n // 10, n // 2, n - 1, n, int(n * p), min(n, int(n * p) + 3)})
    ]
    expected = [_ln_comb(n, k) + k * math.log(p) + (n - k) * math.log1p(-p) for k, n, p in cases]
    for case, value in BINOMIAL_VECTORS.items():
        cases.append(case)
        expected.append(value)
    values = _pmf(database, "ln_binomial_pmf", cases)
    assert_close(
        [(v - e) / max(1.0, abs(e)) for v, e in zip(values, expected, strict=True)], [0] * len(cases), cases, 1e-9, True
    )


HYPERGEOMETRIC_VECTORS: dict[tuple[float, ...], float] = {
    (1673123, 5000000, 5000000, 3333333): -45.05061644312045,
    (2500300, 5000000, 5000000, 5000000): -7.663692058336744,
    (1050, 10000, 9990000, 1000000): -5.711512807042272,
    (333000, 1000000, 9000000, 3333333): -7.299516019679929,
}
BINOMIAL_VECTORS: dict[tuple[float, ...], float] = {
    (3000500, 10000000, 0.3): -8.257232046812458,
    (9999988, 10000000, 0.999999): -2.35619297967569,
    (5, 10000000, 1e-06): -3.2745672778128005,
    (0, 10000000, 1e-06): -10.000005000003332,
    (5000000, 10000000, 0.5): -8.284839203123887,
}


def _pmf(database: Database, macro: str, cases: Sequence[tuple[float, ...]]) -> list[float]:
    columns = {f"x{j}": list(column) for j, column in enumerate(zip(*cases, strict=True))}
    arguments = ", ".join(f"'{name}'" for name in columns)
    values = database.evaluate(f"evalhouse.{macro}({arguments})", **columns)
    return [math.nan if value is None else value for value in values]


def test_pmf_edges(database: Database) -> None:
    # k, events, non_events, draws: impossible counts, certain counts, no such population, no whole number
    cases = [(3, 2, 9, 5), (-1, 2, 9, 5), (0, 5, 2, 4), (0, 0, 9, 4), (4, 9, 0, 4), (0, 4, 9, 0), (2, 2, 9, 11)]
    columns = {name: list(column) for name, column in zip("krsn", zip(*cases, strict=True), strict=True)}
    expression = "evalhouse.ln_hypergeometric_pmf('k', 'r', 's', 'n')"
    assert database.evaluate(expression, **columns) == [-1e5, -1e5, -1e5, 0, 0, 0, 0]
    assert database.evaluate(expression, k=[1, 1, 0.5], r=[-1, 2, 2], s=[5, 2, 2], n=[1, 5, 1]) == [None] * 3
    values = database.evaluate(
        "evalhouse.ln_binomial_pmf('k', 'n', 'p')",
        k=[-1, 4, 0, 1, 3, 2, 0, 1, 0.5],
        n=[3, 3, 3, 3, 3, 3, 0, 2, 3],
        p=[0.5, 0.5, 0, 0, 1, 1, 0.3, 1.5, 0.5],
    )
    assert values == [-1e5, -1e5, 0, -1e5, 0, -1e5, 0, None, None]


def test_fisher_tail_by_summing(database: Database) -> None:
    """0 of 10,000 against 300 of 10,000, and a table with both tails."""
    for k, events, non_events, draws in ((0, 300, 19700, 10000), (7, 30, 400, 200)):
        database.load(k=list(range(min(events, draws, k) + 1)))
        term = f"evalhouse.exp_safe(evalhouse.ln_hypergeometric_pmf('k', {events}, {non_events}, {draws}))"
        value = database.query(f"select sum({{{{ {term} }}}}) from cases")[0][0]
        expected = stats.fisher_exact([[k, draws - k], [events - k, non_events - draws + k]], alternative="less").pvalue
        assert_close([value], [expected], [(k, events, non_events, draws)], 1e-9)


def test_exp_safe(database: Database) -> None:
    x = [-690.0, -1.0, 0.0, 1e-9, 5.5, 690.0]
    assert_close(database.evaluate("evalhouse.exp_safe('x')", x=x), np.exp(x), x, 1e-15)
    values = database.evaluate("evalhouse.exp_safe('x')", x=[-691.0, -1e308, 1e308])
    assert values == [FLOOR, FLOOR, pytest.approx(math.exp(700), rel=1e-12)]


ARGUMENTS = {
    "exp_safe": 1,
    "normal_sf": 1,
    "normal_cdf": 1,
    "normal_quantile": 1,
    "ln_gamma": 1,
    "kolmogorov_sf": 1,
    "student_t_sf": 2,
    "student_t_two_sided_p": 2,
    "student_t_quantile_guess": 2,
    "student_t_quantile_refine": 3,
    "chi_square_sf": 2,
    "ln_binomial_pmf": 3,
    "ln_hypergeometric_pmf": 4,
}
EXTREMES = [
    0,
    5e-324,
    1e-200,
    1e-16,
    0.3,
    0.5,
    1 - 1e-16,
    1,
    1.5,
    2,
    39,
    1e6,
    3.1e8,
    1e15,
    1e100,
    1e141,
    1e300,
    1.7e308,
]
FEW_EXTREMES = [0, 5e-324, 0.5, 1, 7, 1e9, 1.7e308]


@pytest.mark.parametrize("macro", ARGUMENTS)
def test_extremes(database: Database, engine: str, macro: str) -> None:
    """No finite input raises, tails stay in [floor, 1], and the engines agree."""
    count = ARGUMENTS[macro]
    values = EXTREMES if count < 3 else FEW_EXTREMES
    signed = sorted({*values, *(-value for value in values)})
    cases = list(itertools.product(signed if count < 4 else values, repeat=count))
    columns = {f"x{j}": [case[j] for case in cases] for j in range(count)}
    arguments = ", ".join(f"'{name}'" for name in columns)
    results = database.evaluate(f"evalhouse.{macro}({arguments})", **columns)
    known = [value for value in results if value is not None]
    assert known and all(math.isfinite(value) for value in known)
    if macro.endswith(("_sf", "_cdf", "_p")):
        assert min(known) >= FLOOR and max(known) <= 1
    if engine != "duckdb":
        with closing(duckdb.connect()) as connection:
            other = Database(connection).evaluate(f"evalhouse.{macro}({arguments})", **columns)
        assert [value is None for value in results] == [value is None for value in other]
        pairs = [(a, b, case) for a, b, case in zip(results, other, cases, strict=True) if a is not None]
        apart = [pair for pair in pairs if not math.isclose(pair[0], pair[1], rel_tol=1e-11, abs_tol=1e-300)]
        assert not apart, f"engines differ: {apart[:5]}"


@pytest.mark.parametrize("macro", ARGUMENTS)
def test_null_gives_null(database: Database, macro: str) -> None:
    count = ARGUMENTS[macro]
    columns = {f"x{j}": [None if row == j else 0.25 for row in range(count)] for j in range(count)}
    arguments = ", ".join(f"'{name}'" for name in columns)
    assert database.evaluate(f"evalhouse.{macro}({arguments})", **columns) == [None] * count


@pytest.mark.parametrize("column_type", ["integer", "numeric(18, 3)"])
def test_argument_types(database: Database, column_type: str) -> None:
    """Whole numbers are not divided as integers and decimals are not rounded."""
    expected = {
        "exp_safe('x')": math.exp(3),
        "normal_sf('x')": stats.norm.sf(3),
        "normal_quantile('x / 10.0')": special.ndtri(0.3),
        "ln_gamma('x')": math.log(2),
        "kolmogorov_sf('x')": special.kolmogorov(3),
        "student_t_sf('x', 'y')": stats.t.sf(3, 7),
        "student_t_two_sided_p('x - 2', 'y')": 2 * stats.t.sf(1, 7),
        "chi_square_sf('x', 'y')": stats.chi2.sf(3, 7),
        "chi_square_sf('y', 'x')": stats.chi2.sf(7, 3),
        "ln_binomial_pmf('x', 'y', '0.25')": stats.binom.logpmf(3, 7, 0.25),
        "ln_hypergeometric_pmf('x', 'y', '13', 'x + y')": stats.hypergeom.logpmf(3, 20, 7, 10),
        "student_t_sf(3, 7)": stats.t.sf(3, 7),
        "chi_square_sf(3, 7)": stats.chi2.sf(3, 7),
    }
    database.load(column_type, x=[3], y=[7])
    selected = ", ".join(f"{{{{ evalhouse.{call} }}}} as value_{i}" for i, call in enumerate(expected))
    values = database.query(f"select {selected} from cases")[0]
    assert_close(values, list(expected.values()), list(expected), 1e-10)


def test_numbers(database: Database) -> None:
    model = (ROOT / "models/constants/numbers.sql").read_text()
    rows = database.query(model.replace("-- depends_on: {{ ref('evalhouse', 'run_gate') }}", ""))
    assert sorted(row[0] for row in rows) == list(range(256))
