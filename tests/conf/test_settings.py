"""Settings: layers, overrides, and what a wrong one says. No Spark."""

from __future__ import annotations

import pytest

from conf.errors import EnvironmentProblem, EtrError, UsageError
from conf.settings import known_environments, load_settings


@pytest.mark.parametrize("environment", known_environments())
def test_every_shipped_environment_loads(environment):
    assert load_settings(environment).environment == environment


def test_an_environment_says_only_what_differs_from_base():
    local, glue = load_settings("local"), load_settings("glue")
    assert (local.feature_store.embedded, glue.feature_store.embedded) == (True, False)
    assert (local.offline_store.account, glue.offline_store.account) == ("000000000000", None)
    assert local.time_zone == glue.time_zone == "Asia/Kuala_Lumpur"


def test_overrides_win_and_are_typed():
    settings = load_settings(
        "local",
        {
            "lake": "s3://bucket/lake/",
            "spark.shuffle_partitions": "64",
            "spark.options.spark.sql.shuffle.partitions": "8",
            "feature_store.endpoint": "null",
            "validation.max_quarantined_share": "0.5",
        },
    )
    assert settings.spark.shuffle_partitions == 64
    assert settings.spark.options == {"spark.sql.shuffle.partitions": "8"}
    assert settings.feature_store.endpoint is None
    assert settings.validation.max_quarantined_share == 0.5
    assert settings.offline_uri == "s3://bucket/lake/offline_store"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lakes", "x", "--set lakes=x: unknown key 'lakes' (did you mean 'lake'?); known: environment, platform, time_zone, "),
        ("spark.driver_memry", "4g", "--set spark.driver_memry=4g: unknown key 'driver_memry' (did you mean 'driver_memory'?); "),
        ("spark.driver_memory", "4", "--set spark.driver_memory=4: String should match pattern '^[1-9][0-9]*[mg]$'"),
        ("spark", "4", "--set spark=4: Input should be a valid dictionary or instance of SparkSettings"),
        ("raw.folder", "x", "--set raw.folder=x: Input should be a valid string"),
        ("time_zone", "KL", "--set time_zone=KL: 'KL' is not an IANA time zone, such as 'Asia/Kuala_Lumpur' or 'UTC'"),
        ("online_store.concurrency", "0", "--set online_store.concurrency=0: Input should be greater than 0"),
    ],
)
def test_a_wrong_override_says_what_would_work(key, value, message):
    with pytest.raises(EtrError) as caught:
        load_settings("local", {key: value})
    assert str(caught.value).startswith(message)
    assert caught.value.exit_code == 2


def test_an_unknown_environment_lists_the_known_ones():
    with pytest.raises(UsageError) as caught:
        load_settings("locale")
    assert str(caught.value) == "no environment named 'locale' (did you mean 'local'?); known: emr, glue, local, yarn"


def test_the_key_for_personal_data_comes_from_the_environment_and_has_a_default_on_a_laptop_only():
    local, glue = load_settings("local"), load_settings("glue")
    assert local.personal_data_key({"ETR_HMAC_KEY": "k"}) == b"k"
    assert local.personal_data_key({}) == b"for-sample-data-only"
    with pytest.raises(EnvironmentProblem) as caught:
        glue.personal_data_key({})
    assert str(caught.value) == (
        "environment 'glue': no key for personal data; "
        "set the environment variable ETR_HMAC_KEY to a long random text and keep it"
    )
