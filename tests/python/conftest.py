from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import harness
import pytest


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Workshop]:
    with harness.workshop(tmp_path_factory.mktemp("warehouses")) as shop:
        yield shop


@pytest.fixture(scope="session")
def postgres_dsn(workshop: harness.Workshop) -> str:
    """The session's Postgres server, its maintenance database."""
    return workshop.postgres.dsn()


@pytest.fixture(scope="module", params=harness.ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn; fixtures of a module or a function may use it."""
    return request.param


@pytest.fixture(scope="session")
def warehouse_factory(workshop: harness.Workshop) -> Iterator[Callable[..., harness.Warehouse]]:
    """Makes warehouses that live until the session ends, unless closed: for fixtures of a module or session."""
    made: list[harness.Warehouse] = []

    def make(engine: str = "duckdb", **options: Any) -> harness.Warehouse:
        made.append(harness.Warehouse(engine, workshop, **options))
        return made[-1]

    yield make
    for item in made:
        item.close()


@pytest.fixture
def warehouse(engine: str, warehouse_factory: Callable[..., harness.Warehouse]) -> Iterator[harness.Warehouse]:
    """A fresh warehouse for one test, on each engine in turn."""
    item = warehouse_factory(engine)
    yield item
    item.close()
