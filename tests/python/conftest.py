from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import harness
import pytest

# Short files, which run last: two processes that have only short work left end together. A new file counts as long.
SHORT = (
    "test_odd_inputs.py",
    "test_group_sequential.py",
    "test_due_actions_script.py",
    "test_config.py",
    "test_real_data.py",
    "test_simulate.py",
    "test_statistics.py",
    "test_calibration.py",
    "test_harness.py",
    "test_bench.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: SHORT.index(item.path.name) + 1 if item.path.name in SHORT else 0)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadscope`, a file's tests of one engine stay in one process; the two engines' need not."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFileAndEngine(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            parameters = test.partition("[")[2].rstrip("]").split("-")
            return " ".join([file, *(name for name in harness.ENGINES if name in parameters)])

    return ByFileAndEngine(config, log) if config.getvalue("dist") == "loadscope" else None


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
