import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "lss_core" / "statistics"
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if ">>>" in path.read_text())


def test_published_examples_stand_in_the_docstrings():
    assert {"agreement", "many_raters", "krippendorff", "reliability", "paired", "accuracy", "roc"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_give_what_they_say(name):
    module = importlib.import_module(f"lss_core.statistics.{name}")
    result = doctest.testmod(module, extraglobs={"np": np})
    assert result.attempted and not result.failed
