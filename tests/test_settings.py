"""Settings come from the environment, and wrong ones are named."""

import pytest

from lss_core.settings import MIB, Settings


def test_an_empty_environment_gives_the_defaults():
    assert Settings.from_environment({}) == Settings()


def test_the_environment_changes_what_it_names():
    environment = {"LSS_MODEL": "v2", "LSS_IMAGE_LIFETIME_S": "60", "LSS_IMAGE_MEMORY_MIB": "100"}
    assert Settings.from_environment(environment) == Settings("v2", 60.0, 100 * MIB)


@pytest.mark.parametrize("text", ["", "soon", "-1", "0", "inf", "nan"])
def test_a_number_that_is_none_is_named(text):
    with pytest.raises(ValueError, match="LSS_IMAGE_LIFETIME_S"):
        Settings.from_environment({"LSS_IMAGE_LIFETIME_S": text})
