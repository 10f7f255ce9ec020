"""Collections at each stage of curation: made once for each kind of database, and copied for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lss_core.study.connection import open_database
from tests.curated import Curated, curated, label_all, locked_reference, locked_split, name_plan
from tests.databases import KINDS, Databases

STAGES: dict[str, Callable[[Curated], object]] = {
    "planned": name_plan, "labelled": label_all, "referenced": locked_reference, "split": locked_split,
}


class Stages:
    """Hands out copies; what a test does to one reaches no other."""

    def __init__(self, databases: Databases, folder: Path) -> None:
        self._databases, self._folder = databases, folder
        self._made: dict[tuple[str, str], tuple[Curated, str]] = {}

    def new(self, kind: str, stage: str) -> tuple[Curated, str]:
        """A collection of eight patients at a stage, and the URL of its database."""
        if (kind, stage) not in self._made:
            url = self._databases.new(kind)
            made = curated(url, self._folder / f"{kind}-{stage}", patients=8)
            STAGES[stage](made)
            made.engine.dispose()                       # PostgreSQL copies only what nobody is connected to
            self._made[kind, stage] = made, url
        made, url = self._made[kind, stage]
        copied = self._databases.copy(url)
        return replace(made, engine=open_database(copied)), copied

    def drop(self, made: Curated, url: str) -> None:
        made.engine.dispose()
        self._databases.drop(url)


@pytest.fixture(scope="session")
def stages(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    return Stages(databases, tmp_path_factory.mktemp("curated"))


def at_stage(stage: str, *, kinds: tuple[str, ...] = ("sqlite",)) -> Callable:
    """A fixture of a collection at a stage, on SQLite unless other kinds are named."""

    @pytest.fixture(params=kinds)
    def made(request: pytest.FixtureRequest, stages: Stages) -> Iterator[Curated]:
        found, url = stages.new(request.param, stage)
        yield found
        stages.drop(found, url)

    return made


planned = at_stage("planned")
labelled = at_stage("labelled")
referenced = at_stage("referenced")
split_made = at_stage("split")
planned_anywhere = at_stage("planned", kinds=KINDS)
split_anywhere = at_stage("split", kinds=KINDS)
