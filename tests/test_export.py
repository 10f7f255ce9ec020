"""An export holds the study in tidy tables and whole in a bundle, of which an import makes an equal study."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlmodel import select

from lss_core.permissions import Role
from lss_core.study import audit, people
from lss_core.study.bundle import LEADS, LEFT_OUT, SHARED, TABLES, bundle_of
from lss_core.study.codebook import CODEBOOK
from lss_core.study.connection import open_database, snapshot, transaction
from lss_core.study.database import Account, Answer, AuditEvent, ReadingItem, Study
from lss_core.study.desks import begin_session
from lss_core.study.export import export_by_operator, export_study, tables_of, write_files, zipped
from lss_core.study.importing import import_bundle
from lss_core.study.reading import current_case
from lss_core.study.readings import check_tables, read_tables
from lss_core.study.submitting import save_draft
from lss_core.study.verification import check_records
from lss_core.vocabulary import Refusal
from tests.read_study import add_account, graded, make_study, read_session

STUDY = 1


@pytest.fixture
def files(read_study):
    return export_study(read_study.engine, read_study.pi, STUDY)


@pytest.fixture
def elsewhere(read_study, databases):
    """An empty database of the other kind: a bundle does not depend on where it was made."""
    kind = {"sqlite": "postgresql", "postgresql": "sqlite"}[read_study.engine.dialect.name]
    url = databases.new(kind)
    engine = open_database(url)
    yield engine
    engine.dispose()
    databases.drop(url)


def rows(files: dict[str, bytes], name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(files[name].decode())))


def bundle_without_numbers(engine, study_id: int = 1) -> dict:
    """A bundle less what must differ between two databases: the places of the log's lines, and its last ones."""
    with snapshot(engine) as session:
        bundle = bundle_of(session, session.get_one(Study, study_id))
    for line in bundle["audit"]:
        for column in ("id", "study_id", "hash", "previous_hash"):
            del line[column]
    bundle["audit"] = [line for line in bundle["audit"] if line["action"] not in ("export study", "import study")]
    return bundle


def test_the_readings_hold_each_region_of_each_last_answer_to_a_test_case(read_study, files):
    readings = rows(files, "readings.csv")
    showings = 2 * 2 * (6 + 1)                  # readers, sessions, test cases and one hidden repeat
    assert len(readings) == showings * 3
    keys = {(r["reader"], r["session"], r["position"], r["region"]) for r in readings}
    assert len(keys) == len(readings)
    assert sum(r["is_repeat"] == "1" for r in readings) == 2 * 2 * 3
    assert {r["case"] for r in readings} == set("123456")       # case 7 is for training


def test_the_readings_say_what_was_entered(read_study, files):
    readings = rows(files, "readings.csv")
    third = [r for r in readings if r["not_gradable"]]
    assert len(third) == 4 and {r["region"] for r in third} == {"central_canal"}
    assert {(r["grade"], r["confidence"], r["not_gradable"]) for r in third} == {("", "", "  beam hardening ")}
    assert {r["image_quality"] for r in third} == {"noise"}
    assert {r["experience"] for r in readings if r["reader"] == "R01"} == {"junior"}
    assert {r["experience"] for r in readings if r["reader"] == "R02"} == {"senior"}
    assert {r["arm"] for r in readings if (r["reader"], r["session"]) == ("R01", "1")} == {"unaided"}
    assert {r["arm"] for r in readings if (r["reader"], r["session"]) == ("R02", "1")} == {"aided"}
    assert {r["duration_s"] for r in readings if r["revision"] == "1"} == {"20.25"}
    assert {(r["protocol_version"], r["software_version"]) for r in readings} == {("1", "0.1.0")}


def test_a_reopened_case_counts_with_its_last_answer(files):
    again = [r for r in rows(files, "readings.csv") if r["revision"] == "2"]
    assert [(r["reader"], r["session"], r["grade"]) for r in again] == [("R01", "1", "3")] * 3


def test_a_spreadsheet_runs_nothing_of_a_comment(files, read_study):
    comments = {r["comment"] for r in rows(files, "readings.csv")}
    assert '\'=1+1, "quoted"\nüber' in comments
    assert "=1+1" in json.dumps(json.loads(files["bundle.json"]), ensure_ascii=False)
    with snapshot(read_study.engine) as session:
        assert tables_of(session, session.get_one(Study, STUDY)).readings["comment"].str.startswith("=1+1").any()


def test_the_codebook_explains_every_column_of_every_file(files):
    for name in ("readings.csv", "reference.csv", "model.csv"):
        header = files[name].decode().splitlines()[0].split(",")
        explained = [r["column"] for r in rows(files, "codebook.csv") if r["file"] == name]
        assert header == explained == list(CODEBOOK[name])


def test_the_tables_are_what_an_analysis_reads(files, tmp_path, read_study):
    write_files(files, tmp_path / "export")
    from_files = read_tables(*(tmp_path / "export" / f"{name}.csv" for name in ("readings", "reference", "model")))
    with snapshot(read_study.engine) as session:
        tables = tables_of(session, session.get_one(Study, STUDY))
    from_database = check_tables(tables.readings, tables.reference, tables.model)
    for name in ("grade", "duration_s", "position", "is_repeat", "session"):
        assert from_files.readings[name].equals(from_database.readings[name])
    assert len(from_files.model) == len(from_files.reference) == 6 * 3


def test_a_version_that_graded_with_two_weights_is_two_models(read_study):
    with transaction(read_study.engine) as session:
        session.connection().execute(text(
            "insert into modeloutput (case_id, version, weights_sha256, region, grade, box, not_gradable, "
            "heat_map_key, heat_map_box, added_at) select 1, 'v1', 'bbbbbbbbcccc', 'central_canal', 2, '', '', '', '', "
            "added_at from modeloutput where id = 1"
        ))
    with snapshot(read_study.engine) as session:
        model = tables_of(session, session.get_one(Study, STUDY)).model
    assert set(model["version"]) == {"v1 aaaaaaaa", "v1 bbbbbbbb"}


def test_the_readme_states_the_hashes_and_that_it_is_for_research(files):
    readme = files["README.txt"].decode()
    assert "Research use only" in readme and "SIMULATED" not in readme
    for name, content in files.items():
        if name != "README.txt":
            assert f"{hashlib.sha256(content).hexdigest()}  {name}" in readme


def test_a_demo_says_in_the_export_that_it_is_simulated(read_study):
    with transaction(read_study.engine) as session:
        session.get_one(Study, STUDY).is_demo = True
    files = export_study(read_study.engine, read_study.pi, STUDY)
    assert b"SIMULATED" in files["README.txt"] and b'"note": "SIMULATED' in files["bundle.json"]


def test_an_export_is_noted_and_its_tables_are_the_same_bytes_each_time(read_study, files):
    again = export_study(read_study.engine, read_study.pi, STUDY)
    assert all(again[name] == files[name] for name in files if name.endswith(".csv"))
    with snapshot(read_study.engine) as session:
        noted = session.exec(select(AuditEvent).where(AuditEvent.action == "export study")).all()
    assert [line.actor for line in noted] == [read_study.pi.email] * 2
    assert json.loads(noted[0].new)["readings.csv"] == hashlib.sha256(files["readings.csv"]).hexdigest()
    assert check_records(read_study.engine) == []


@pytest.mark.parametrize("role", [Role.COORDINATOR, Role.ANNOTATOR, None])
def test_only_the_pi_exports(read_study, role):
    person = add_account(read_study.engine, "other@example.org")
    if role:
        people.invite(read_study.engine, read_study.pi, STUDY, email=person.email, role=role)
    for actor in (person, read_study.readers[0], replace(person, account_id=999)):
        with pytest.raises(Refusal, match="no role in this study that permits you to export"):
            export_study(read_study.engine, actor, STUDY)


@pytest.mark.parametrize("state", ["draft", "open", "paused", "closed"])
def test_a_blinded_study_is_exported_by_the_operator_alone(read_study, state):
    with transaction(read_study.engine) as session:
        session.get_one(Study, STUDY).state = state
    with pytest.raises(Refusal, match=f"The study is {state}; it can be exported after"):
        export_study(read_study.engine, read_study.pi, STUDY)
    assert export_by_operator(read_study.engine, "1").keys() == CODEBOOK.keys() | {
        "README.txt", "codebook.csv", "bundle.json"
    }


def test_an_operator_who_names_no_study_is_told_which_there_are(read_study):
    with pytest.raises(Refusal, match=r"There is no study '7'; there are: 1 \(Canal study\)"):
        export_by_operator(read_study.engine, "7")


def test_files_are_not_written_over_others(files, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(Refusal, match="not empty"):
        write_files(files, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["mine.txt"]


def test_an_archive_holds_the_files_and_is_the_same_bytes_each_time(files):
    archive = zipped(files)
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == files
    assert zipped(files) == archive


def test_every_table_is_in_the_bundle_or_is_left_out_on_purpose():
    assert {*LEADS, *SHARED, *LEFT_OUT, "study"} == set(TABLES)


def test_a_bundle_tells_nothing_of_another_study(read_study):
    make_study(read_study.engine, title="Another", readers=("third@example.org",), tests=2)
    files = export_by_operator(read_study.engine, "1")
    assert b"third@example.org" not in b"".join(files.values()) and b"Another" not in files["bundle.json"]
    assert len(json.loads(files["bundle.json"])["tables"]["case"]) == 7


def test_an_imported_study_is_equal(read_study, elsewhere, files):
    imported = import_bundle(elsewhere, files["bundle.json"])
    assert (imported.title, len(imported.scans)) == ("Canal study", 7)
    assert bundle_without_numbers(elsewhere) == bundle_without_numbers(read_study.engine)
    again = export_by_operator(elsewhere, "1")
    assert all(again[name] == files[name] for name in files if name.endswith(".csv"))
    assert check_records(elsewhere) == []


def test_a_study_in_the_midst_of_reading_is_imported_with_its_drafts(database, databases):
    engine, other = open_database(database), open_database(databases.new("sqlite"))
    made = make_study(engine)
    read_session(made, made.readers[0])
    begin_session(engine, made.readers[1], STUDY, now=made.tick())
    case = current_case(engine, made.readers[1], STUDY, now=made.tick())
    assert case
    save_draft(engine, made.readers[1], case.token, change=1, entry=graded(2), now=made.tick())
    import_bundle(other, export_by_operator(engine, "1")["bundle.json"])
    assert bundle_without_numbers(other) == bundle_without_numbers(engine)
    assert len(bundle_without_numbers(other)["tables"]["draft"]) == 1
    engine.dispose()
    other.dispose()


def test_an_import_beside_other_studies_keeps_both_whole(read_study, elsewhere, files):
    make_study(elsewhere, title="Here before", readers=("third@example.org",), tests=2)
    imported = import_bundle(elsewhere, files["bundle.json"])
    assert imported.study_id == 2 and check_records(elsewhere) == []
    with snapshot(elsewhere) as session:
        last = session.exec(select(AuditEvent).order_by(text("id desc")).limit(1)).one()
        counts = [len(session.exec(select(each)).all()) for each in (Answer, ReadingItem)]
    assert last.action == "import study" and json.loads(last.new)["bundle_sha256"] == hashlib.sha256(
        files["bundle.json"]).hexdigest()
    assert counts == [31, 30]                   # of the imported study: 8 and 7 places a reader, one answered twice
    assert bundle_without_numbers(elsewhere, 2)["tables"]["answer"] == bundle_without_numbers(
        read_study.engine)["tables"]["answer"]


def test_an_import_gives_no_right_in_the_installation(read_study, elsewhere, files):
    import_bundle(elsewhere, files["bundle.json"])
    with snapshot(elsewhere) as session:
        accounts = session.exec(select(Account)).all()
    assert len(accounts) == 3
    assert not any(account.may_create_studies or account.subject for account in accounts)


def test_a_study_is_imported_once(read_study, elsewhere, files):
    import_bundle(elsewhere, files["bundle.json"])
    with pytest.raises(Refusal, match="Canal study is in this database already"):
        import_bundle(elsewhere, files["bundle.json"])


def test_a_person_with_another_experience_is_refused(read_study, elsewhere, files):
    add_account(elsewhere, "first@example.org", years=30)
    with pytest.raises(Refusal, match=r"first@example.org is here already, with another years of experience"):
        import_bundle(elsewhere, files["bundle.json"])
    assert audit.verify(elsewhere) == []
    with snapshot(elsewhere) as session:
        assert session.exec(select(Study)).all() == []


def grade(bundle):
    row = next(row for row in bundle["tables"]["regionanswer"] if row["grade"] is not None)
    row["grade"] = 3 - row["grade"]


def line(bundle):
    bundle["audit"][3]["reason"] = "another"


def lost_line(bundle):
    bundle["audit"] = [each for each in bundle["audit"] if each["subject"] != "answer 3"]


def lost_answer(bundle):
    number = len(bundle["tables"]["answer"])
    bundle["tables"]["answer"].pop()
    bundle["tables"]["regionanswer"] = [r for r in bundle["tables"]["regionanswer"] if r["answer_id"] != number]


def odd_column(bundle):
    bundle["tables"]["case"][0]["truth"] = 1


def odd_type(bundle):
    bundle["tables"]["case"][0]["number"] = "one"


def naive_moment(bundle):
    bundle["tables"]["answer"][0]["shown_at"] = "2026-03-01T08:00:00"


def dangling(bundle):
    bundle["tables"]["answer"][0]["item_id"] = 4711


def impossible_grade(bundle):
    bundle["tables"]["reference"][0]["grade"] = 9


def two_studies(bundle):
    bundle["tables"]["study"] *= 2


def no_rows(bundle):
    bundle["tables"]["case"] = "none"


def no_row(bundle):
    bundle["tables"]["case"][0] = 5


def lost_table(bundle):
    del bundle["tables"]["draft"]


def other_format(bundle):
    bundle["format"] = "lumbar-stenosis-study 2"


@pytest.mark.parametrize("read_study", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("alter", "told"), [
    (grade, "The bundle was altered. .*The answer to place .* was altered"),
    (line, "The bundle was altered: line 4 of its audit log does not match its hash"),
    (lost_line, "The bundle was altered. .* has no line in the audit log"),
    (lost_answer, "The bundle was altered. .* answer that is missing"),
    (odd_column, "A row of case has other columns than this software knows: truth"),
    (odd_type, "A row of case holds 'one' in column number, which is not a int"),
    (naive_moment, "A row of answer holds '2026-03-01T08:00:00' in column shown_at, which is not a datetime"),
    (dangling, "A row of answer names readingitem 4711, which the bundle does not hold"),
    (impossible_grade, "rows that contradict each other"),
    (two_studies, "holds 2 studies; it must hold one"),
    (no_rows, "no list of rows"),
    (no_row, "A row of case is 5, not a set of named values"),
    (lost_table, "lacks tables or has others"),
    (other_format, "not a bundle of the format"),
])
def test_an_altered_bundle_is_refused_and_leaves_nothing(read_study, elsewhere, files, alter, told):
    bundle = json.loads(files["bundle.json"])
    alter(bundle)
    with pytest.raises(Refusal, match=told):
        import_bundle(elsewhere, json.dumps(bundle).encode())
    with snapshot(elsewhere) as session:
        assert session.exec(select(Account)).all() == session.exec(select(AuditEvent)).all() == []


def test_what_is_not_json_is_refused(elsewhere):
    with pytest.raises(Refusal, match="it is not JSON"):
        import_bundle(elsewhere, b"reader,grade\n")
