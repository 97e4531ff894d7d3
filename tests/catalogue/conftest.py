import pytest

from tests.catalogue.lake import Lake, make_lake


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_lake(tmp_path_factory.mktemp("sample_of_the_catalogue"))
