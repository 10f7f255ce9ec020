"""The check of the records covers collections, and a backup brings them back whole."""

from __future__ import annotations

import re

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import select

from lss_core.curation import adjudication, labels, reference, regions, split
from lss_core.imaging.store import ScanStore
from lss_core.study.backup import back_up, restore
from lss_core.study.connection import MIGRATIONS, connect, open_database, reading, transaction
from lss_core.study.curation_tables import APPEND_ONLY
from lss_core.study.database import Study, StudyKind, Table
from lss_core.study.verification import check_records
from lss_core.vocabulary import Region
from tests.curated import BOXES, Curated
from tests.test_verification import tamper


def problems(made: Curated) -> list[str]:
    return check_records(made.engine)


def test_a_collection_as_it_was_curated_has_no_problem(split_anywhere):
    assert problems(split_anywhere) == []


@pytest.mark.parametrize(("statement", "told"), [
    ("update labelgrade set grade = 3 - grade where label_id = 4", "The label of place 4 of first@.* was altered"),
    ("update label set comment = 'x' where id = 4", "The label of place 4 of first@.* was altered"),
    ("update label set account_id = account_id + 1 where id = 4", "The label of place 4 .* was altered"),
    ("delete from labelgrade where label_id = 4 and region = 'central_canal'", "The label of place 4 .* was altered"),
    ("update label set sha256 = 'x' where id = 4", "The label of place 4 .* has no line in the audit log"),
    ("update adjudication set grade = 3 where id = 1", "Decision 1 on case 1 was altered"),
    ("update adjudication set reason = 'other' where id = 2", "Decision 2 on case 1 was altered"),
    ("update referencerow set grade = 3 - grade where id = 9", "Version 1 of the reference was altered"),
    ("update referencerow set box = '[0, 0, 1, 1]' where id = 9", "Version 1 of the reference was altered"),
    ("delete from referencerow where id = 9", "Version 1 of the reference was altered"),
    ("update splitrow set part = 'training' where part = 'control'", "Version 1 of the split was altered"),
    ("update splitrow set part = 'training' where part = 'control'", "The control set of version 1 .* is not the one"),
    ("update splitversion set content = replace(content, 'seed', 'sown')", "Version 1 of the split was"),
    ("update splitversion set control_sha256 = 'x'", "The control set of version 1 of the split is not the one"),
    ("update labelplace set position = 100 + position where position < 9", "The order in which first@"),
    ("update curatedlevel set slice_index = 4 where id = 3", "L4/5 of scan 2 is not on the slice where it was put"),
    ("delete from signature where what = 'reference 1'", "The signature under reference 1 is missing"),
    ("update signature set sha256 = 'x' where what = 'split 1'", "A signature under split 1 was altered"),
    ("delete from adjudication where id = 6", r"\(adjudicate\) tells of what is missing"),
])
def test_what_was_altered_or_removed_is_named(split_made, statement, told):
    tamper(split_made.engine, statement)
    found = problems(split_made)
    assert any(re.search(told, each) and each.startswith("Collection Made-up collection: ") for each in found), found


def test_a_label_that_came_past_the_software_is_named(split_made):
    tamper(split_made.engine, "insert into label select 999, collection_id, place_id, case_id, account_id, 2, "
                              "slice_index, image_quality, comment, submitted_at, software_version, sha256 || 'x' "
                              "from label where id = 4")
    assert any("revision 2, has no line in the audit log" in each for each in problems(split_made))


@pytest.mark.parametrize("act", ["update {} set id = id + 1000", "delete from {}"])
def test_append_only_rows_are_kept_by_the_database_itself(split_anywhere, act):
    made = split_anywhere
    case = next(case for case in made.cases() if case.part == "training")
    regions.save_boxes(made.engine, made.first, made.collection_id, case.case_id, case.slice_index, BOXES)
    for table in APPEND_ONLY:
        with pytest.raises(DBAPIError, match="never changed or deleted"), transaction(made.engine) as session:
            session.connection().execute(text(act.format(table.__tablename__)))


def test_a_database_of_the_first_schema_is_upgraded_with_the_studies_in_it(database):
    engine = connect(database)
    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS))
    with engine.execution_options(writes=True).begin() as connection:
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "0001")
        for statement in (
            "insert into account (id, email, name, specialty, may_create_studies, is_demo, disabled, created_at)"
            " values (1, 'a@b.c', '', '', true, false, false, '2026-03-02 12:00:00')",
            "insert into study (id, token, title, state, is_demo, created_by, created_at)"
            " values (1, 't', 'Old', 'draft', false, 1, '2026-03-02 12:00:00')",
            "insert into membership (id, study_id, account_id, role, invited_at)"
            " values (1, 1, 1, 'pi', '2026-03-02 12:00:00')",
        ):
            connection.execute(text(statement))
    engine.dispose()
    upgraded = open_database(database)
    with reading(upgraded) as session:
        (study,) = session.exec(select(Study)).all()
        assert (study.title, study.kind, study.collection_id) == ("Old", StudyKind.READER_STUDY, None)
        assert compare_metadata(MigrationContext.configure(session.connection()), Table.metadata) == []
    upgraded.dispose()


def test_a_backup_brings_a_collection_back_whole(split_anywhere, another_database_of, tmp_path):
    made = split_anywhere
    back_up(made.engine, made.store, tmp_path / "backup.zip")
    engine = open_database(another_database_of(made))
    restored = restore(engine, ScanStore(tmp_path / "images"), tmp_path / "backup.zip")
    assert restored.lost == () and restored.images == 8
    assert check_records(engine) == []
    for service in (reference.reference_rows, split.split_of, adjudication.disagreements, labels.label_progress):
        assert service(engine, made.pi, made.collection_id) == service(made.engine, made.pi, made.collection_id)
    assert len(reference.reference_rows(engine, made.pi, made.collection_id)) == 16 * len(Region)
    engine.dispose()


@pytest.fixture
def another_database_of(databases):
    """URL of an empty database of the same kind, dropped afterwards."""
    urls = []

    def new(made: Curated) -> str:
        urls.append(databases.new(made.engine.dialect.name))
        return urls[-1]

    yield new
    for url in urls:
        databases.drop(url)
