from collections.abc import Iterator

import duckdb
import pytest

from tests.catalogue.lake import Lake, make_lake
from tests.catalogue.ledgers import open_ledgers


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_lake(tmp_path_factory.mktemp("sample_of_the_catalogue"))


@pytest.fixture(scope="session")
def ledgers(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    with open_ledgers(lake) as connection:
        yield connection
