"""Scans into a collection: every series once whatever happens, without identity, and why some are refused."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydicom import dcmread
from sqlalchemy import Engine, select
from sqlalchemy.engine import make_url

from lss_core.__main__ import main
from lss_core.curation import scans as curated_scans
from lss_core.imaging.dicom import read_scan
from lss_core.imaging.pseudonyms import FOLDER, KEY, SiteKeys
from lss_core.imaging.store import ScanStore, StoredScan
from lss_core.imaging.volume import Volume
from lss_core.import_report import ImportChoices, ImportSummary, Take
from lss_core.scan_import import import_into
from lss_core.study.backup import back_up
from lss_core.study.connection import snapshot
from lss_core.study.database import Table
from lss_core.study.verification import check_records
from lss_core.vocabulary import Refusal
from tests import identifiers, piles, scans
from tests.curated import Curated, curated

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Curated]:
    """An empty collection on SQLite."""
    made = curated(f"sqlite:///{tmp_path / 'studies.sqlite'}", tmp_path / "images", patients=0)
    yield made
    made.engine.dispose()


@pytest.fixture
def keys(tmp_path: Path) -> SiteKeys:
    return SiteKeys.of(tmp_path)


def imported(made: Curated, keys: SiteKeys, *paths: Path, take: Take = Take.BEST, **told) -> ImportSummary:
    choices = told.pop("choices", ImportChoices(take))
    return import_into(made.engine, made.store, made.pi, made.collection_id, paths, keys=keys, choices=choices, **told)


def rows(made: Curated) -> tuple[curated_scans.CuratedScanRow, ...]:
    return curated_scans.scans_of(made.engine, made.pi, made.collection_id)


def refused(made: Curated) -> tuple[curated_scans.RefusedSource, ...]:
    return curated_scans.refused_of(made.engine, made.pi, made.collection_id)


def test_a_folder_an_archive_and_a_disc_become_scans(made, keys, tmp_path):
    pile = piles.write_pile(tmp_path / "pile", patients=2)
    packed = piles.pack(piles.write_pile(tmp_path / "to pack", patients=3), tmp_path / "third.zip")
    scans.write_dicomdir(tmp_path / "disc", [("IMAGES", path.name.upper()) for path in
                                             piles.write_patient(tmp_path / "disc" / "images", 4)])
    told: list[tuple[str, float]] = []
    summary = imported(made, keys, pile, packed, tmp_path / "disc" / "DICOMDIR", site="North",
                       progress=lambda what, share: told.append((what, share)))
    assert (summary.added, summary.known, summary.refused, summary.stopped) == (4, 0, 0, False)
    assert len({row.patient for row in rows(made)}) == 4 and {row.site for row in rows(made)} == {"North"}
    assert told[-1] == ("Imported", 1.0) and [share for _, share in told] == sorted(share for _, share in told)
    assert check_records(made.engine) == []


def test_what_is_known_of_a_scan_is_what_may_be_known(made, keys, tmp_path):
    piles.write_patient(tmp_path / "a", 2, PatientAge="097Y")
    imported(made, keys, tmp_path / "a")
    (row,) = rows(made)
    assert (row.sex, row.age_years, row.manufacturer, row.kernel) == ("F", 89, "Siemens", "B30f")
    assert (row.slices, row.slice_thickness_mm, row.simulated) == (piles.SLICES, 3.0, False)
    assert row.patient.startswith("P-") and row.name.startswith("S-") and "Short: 63 mm" in row.notes[-1]


def test_a_file_that_is_given_twice_counts_once(made, keys, tmp_path):
    piles.write_patient(tmp_path / "a", 1)
    assert imported(made, keys, tmp_path, tmp_path / "a", tmp_path / "a" / "000.dcm").added == 1
    assert not any("duplicates" in note for note in rows(made)[0].notes)


def test_simulated_enhanced_and_nifti_scans_are_taken_as_what_they_are(made, keys, tmp_path):
    piles.write_patient(tmp_path / "a", 1, Manufacturer="SIMULATED")
    enhanced = scans.enhanced_ct(positions=[(0, 0, 10.0 * index) for index in range(7)])
    enhanced.PatientID, enhanced.SeriesInstanceUID = "MRN-7", "1.2.826.7"
    scans.save(enhanced, tmp_path / "enhanced.dcm")
    for number in range(2):                             # two patients with equal headers
        scans.write_nifti(tmp_path / f"{number}.nii.gz", affine=np.diag([-1.0, -1.0, 10.0, 1.0]), shape=(32, 32, 7),
                          hu=lambda points, number=number: np.where(points[..., 0] > 10, -1000, 400 + number))
    assert imported(made, keys, tmp_path).added == 4
    assert sorted(row.simulated for row in rows(made)) == [False, False, False, True]
    assert len({row.patient for row in rows(made)}) == 4 and {row.slices for row in rows(made)} == {7}


def test_the_stored_scan_is_the_series(made, keys, tmp_path):
    piles.write_patient(tmp_path / "a", 1)
    imported(made, keys, tmp_path / "a")
    (row,) = rows(made)
    stored, expected = made.store.open(row.scan_key), read_scan(tmp_path / "a")
    assert np.array_equal(stored.hu, expected.hu) and stored.pixel_spacing_mm == expected.pixel_spacing_mm
    assert np.allclose(stored.positions_mm, expected.positions_mm - expected.positions_mm[0])


def test_the_same_pile_again_adds_nothing_wherever_it_lies(made, keys, tmp_path):
    pile = piles.write_pile(tmp_path / "pile", patients=3)
    assert imported(made, keys, pile).added == 3
    moved = shutil.move(pile, tmp_path / "elsewhere")
    again = imported(made, keys, Path(moved), Path(moved) / "patient 1")
    assert (again.added, again.known) == (0, 3) and len(rows(made)) == 3
    assert len(list((tmp_path / "images").iterdir())) == 3


def test_a_removed_scan_does_not_come_back(made, keys, tmp_path):
    pile = piles.write_pile(tmp_path / "pile", patients=1)
    imported(made, keys, pile)
    curated_scans.remove_scan(made.engine, made.pi, made.collection_id, rows(made)[0].scan_id, reason="wrong body part")
    assert imported(made, keys, pile).added == 0 and rows(made) == ()


def test_the_best_series_of_a_study_is_taken_or_all(made, keys, tmp_path):
    piles.write_patient(tmp_path / "a", 1, series=1, ConvolutionKernel="B70s")
    piles.write_patient(tmp_path / "a" / "soft", 1, series=2, ConvolutionKernel="B30f")
    piles.write_patient(tmp_path / "a" / "later", 1, study=2)
    summary = imported(made, keys, tmp_path / "a")
    assert (summary.added, summary.not_taken) == (2, 1) and {row.kernel for row in rows(made)} == {"B30f"}
    summary = imported(made, keys, tmp_path / "a", take=Take.ALL)
    assert (summary.added, summary.known) == (1, 2) and len({row.patient for row in rows(made)}) == 1
    assert any(note.startswith("Sharp kernel: B70s") for row in rows(made) for note in row.notes)


def test_the_next_series_is_taken_where_the_best_cannot_be_read(made, keys, tmp_path):
    best = piles.write_patient(tmp_path / "a", 1, series=1, thickness=1.0)
    piles.write_patient(tmp_path / "a" / "next", 1, series=2)
    best[3].write_bytes(best[3].read_bytes()[:-100])
    summary = imported(made, keys, tmp_path / "a")
    assert (summary.added, summary.refused) == (1, 1)
    assert "cannot be read: it is truncated or corrupt" in refused(made)[0].reason


def test_a_refused_series_is_kept_with_its_reason_and_looked_at_again_when_asked(made, keys, tmp_path):
    piles.write_patient(tmp_path / "a", 1, slices=3, step_mm=3.0)
    (tmp_path / "a" / "readme.txt").write_text("not an image")
    summary = imported(made, keys, tmp_path / "a")
    assert (summary.added, summary.refused, summary.left_out[0].what) == (0, 1, "it is not a DICOM file")
    assert "covers 9 mm" in refused(made)[0].reason and refused(made)[0].name.startswith("S-")
    assert imported(made, keys, tmp_path / "a").refused == 0
    assert imported(made, keys, tmp_path / "a", choices=ImportChoices(least_mm=5, again=True)).added == 1
    assert refused(made) == ()


def test_files_of_two_patients_under_one_series_are_refused(made, keys, tmp_path):
    piles.write_patient(tmp_path / "a", 1)
    piles.write_patient(tmp_path / "b", 1, PatientID="MRN-2")
    assert imported(made, keys, tmp_path / "a", tmp_path / "b").added == 0
    assert "2 patients under one series UID" in refused(made)[0].reason
    assert keys.patient_list().who(refused(made)[0].name) == {"file": str(tmp_path / "a" / "000.dcm")}


def test_writing_in_the_pixels_is_refused_and_listed(made, keys, tmp_path):
    last = piles.write_patient(tmp_path / "said", 1)[-1]            # one of its files says so
    said = dcmread(last)
    said.BurnedInAnnotation = "YES"
    said.save_as(last)
    piles.write_patient(tmp_path / "screen", 2, ImageType=["DERIVED", "SECONDARY", "SCREEN SAVE"])
    picture = Image.new("L", (96, 96))
    ImageDraw.Draw(picture).text((3, 3), "DOE JANE", fill=255, font=ImageFont.load_default(12))
    writing = np.asarray(picture) > 127
    scans.write_series(tmp_path / "seen", slices=7, step_mm=10.0, shape=(96, 96), series_uid="1.2.826.9",
                       PatientID="MRN-9", hu=lambda points: np.where(writing, 2000, -1000))
    assert imported(made, keys, tmp_path).added == 0
    reasons = [each.reason for each in refused(made)]
    assert sum("say that writing is burned" in reason for reason in reasons) == 2
    assert any("like writing stands in the picture (slice 1)" in reason for reason in reasons)


def test_a_broken_or_encrypted_archive_is_one_refusal_and_the_rest_goes_on(made, keys, tmp_path):
    pile = piles.write_pile(tmp_path / "pile", patients=1)
    piles.pack(pile, tmp_path / "pile" / "Zyxwvut.zip")
    scans.mark_encrypted(tmp_path / "pile" / "Zyxwvut.zip")
    (tmp_path / "pile" / "half.zip").write_bytes(b"PK\x03\x04 and no more")
    summary = imported(made, keys, tmp_path / "pile")
    assert (summary.added, summary.refused) == (1, 2)
    assert all("The archive" in each.reason and "Zyxwvut" not in each.reason for each in refused(made))


def test_a_path_that_is_not_there_is_named(made, keys, tmp_path):
    with pytest.raises(Refusal, match="There is no file or folder"):
        imported(made, keys, tmp_path / "nowhere")


def test_one_patient_under_two_names_is_found(made, keys, tmp_path):
    piles.write_patient(tmp_path / "a", 1)
    copied = piles.write_patient(tmp_path / "b", 1, study=2, PatientID="MRN-COPY", PatientName="Other^Name")
    person = {"PatientName": "Family3^Given", "PatientBirthDate": "19430213", "PatientSex": "M"}
    piles.write_patient(tmp_path / "c", 3, **person)
    piles.write_patient(tmp_path / "d", 4, **person)
    assert len(copied) == piles.SLICES
    summary = imported(made, keys, tmp_path)
    reasons = sorted(each.reason for each in summary.duplicates)
    assert reasons == ["the same name, birth date and sex", "the same pixels"]
    assert any("may be one patient" in sentence for sentence in summary.sentences())


def test_who_may_not_import_is_refused_before_anything_is_stored(made, keys, tmp_path):
    pile = piles.write_pile(tmp_path / "pile", patients=1)
    for actor in (made.first, made.outsider):
        with pytest.raises(Refusal):
            import_into(made.engine, made.store, actor, made.collection_id, [pile], keys=keys)
    assert not (tmp_path / "images").exists() and not list(keys.folder.glob("patients*"))


def test_a_stopped_import_says_so_and_goes_on_later(made, keys, tmp_path):
    pile = piles.write_pile(tmp_path / "pile", patients=4)
    stops = iter([False] * 4 + [True])
    summary = imported(made, keys, pile, stop=lambda: next(stops, True))
    assert summary.stopped and 0 < summary.added < 4 and "begin again" in summary.sentences()[-1]
    assert summary.added + imported(made, keys, pile).added == 4


def test_an_import_killed_at_any_moment_takes_every_series_once(made, keys, tmp_path):
    pile = piles.write_pile(tmp_path / "pile", patients=10)
    environment = os.environ | {"LSS_DATA": str(tmp_path), "DATABASE_URL": str(made.engine.url),
                                "LSS_IMAGES": str(tmp_path / "images")}
    command = [sys.executable, "-m", "tests.killed_import", str(pile), str(made.collection_id)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    kills, last = map(int, done.stdout.split()[-2:])
    assert kills >= 4 and last == 0
    found = rows(made)
    assert len(found) == len({row.patient for row in found}) == 10
    assert {f"{row.scan_key}.ct" for row in found} == {path.name for path in (tmp_path / "images").iterdir()}
    assert all(made.store.open(row.scan_key).hu.shape[0] == piles.SLICES for row in found)
    who = keys.patient_list().who
    assert {who(row.patient)["patient id"] for row in found} == {f"MRN-{n}" for n in range(1, 11)}
    assert check_records(made.engine) == []


def test_a_disk_that_goes_away_stops_the_import_and_nothing_is_refused_for_good(made, keys, tmp_path):
    pile = piles.write_pile(tmp_path / "pile", patients=3)

    def unplug(what: str, share: float) -> None:
        if what == "Study 2 of 3":
            shutil.move(pile, tmp_path / "unplugged")

    with pytest.raises(Refusal, match="went away"):
        imported(made, keys, pile, progress=unplug)
    assert len(rows(made)) == 1 and refused(made) == ()
    assert imported(made, keys, tmp_path / "unplugged").added == 2


class DyingStore(ScanStore):
    """The process ends at the worst moment: the scan is stored, and nothing says so yet."""

    def put(self, volume: Volume, *, key: str | None = None) -> StoredScan:
        super().put(volume, key=key)
        raise SystemExit


def test_a_scan_that_was_stored_when_the_process_died_is_stored_once(made, keys, tmp_path):
    pile = piles.write_pile(tmp_path / "pile", patients=1)
    with pytest.raises(SystemExit):
        import_into(made.engine, DyingStore(str(tmp_path / "images")), made.pi, made.collection_id, [pile], keys=keys)
    assert rows(made) == () and imported(made, keys, pile).added == 1
    assert [path.stem for path in (tmp_path / "images").iterdir()] == [rows(made)[0].scan_key]


def write_planted_pile(folder: Path) -> Path:
    """A series to take, one to refuse, a scout and archives, with secrets everywhere, also in the names of files."""
    inside = folder / "Zyxwvut Quirin 7481923"
    ds = identifiers.planted_slice(position=(-16, -16, 0), number=1, series_uid=identifiers.UID_SECRET)
    for number, length in ((1, 3), (2, 1), (3, 3)):
        ds.SeriesInstanceUID = f"{identifiers.UID_SECRET}.{number}"
        ds.StudyInstanceUID = f"{identifiers.UID_SECRET}.9.{number}"
        for index in range(length):
            ds.ImagePositionPatient, ds.InstanceNumber = [-16.0, -16.0, 30.0 * index], index + 1
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ds.SeriesInstanceUID}.{index + 1}"
            saved = scans.save(ds, inside / f"Zyxwvut-{number}-{index}.dcm")
    content = saved.read_bytes()
    saved.write_bytes(content[: content.index(b"\xe0\x7f\x10\x00OW") + 500])     # the third series ends in its pixels
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scans.save(ds, inside / "scout.dcm")
    cut = scans.save(ds, inside / "cut.dcm")
    cut.write_bytes(cut.read_bytes()[:900])
    (inside / "Zyxwvut.zip").write_bytes(b"PK\x03\x04 19470213")
    return folder


def test_no_secret_of_a_pile_with_one_in_every_attribute_gets_anywhere(database, tmp_path, monkeypatch, caplog, capfd):
    made = curated(database, tmp_path / "images", patients=0)
    pile = write_planted_pile(tmp_path / "pile")
    assert identifiers.leaking(identifiers.files_below(pile))
    monkeypatch.setenv("LSS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LSS_IMAGES", str(tmp_path / "images"))
    monkeypatch.setenv("DATABASE_URL", database)
    caplog.set_level(logging.DEBUG)
    command = ["import", str(pile), f"--collection={made.token}", "--site", "North"]   # a token may begin with -
    assert main([*command, "--deidentified", str(tmp_path / "out")]) == 0
    (row,), said = rows(made), capfd.readouterr()
    assert len(refused(made)) == 3 and "1 scan added" in said.out
    written = list(identifiers.files_below(tmp_path / "out", tmp_path / "images", tmp_path / "data"))
    assert len([path for path in written if path.suffix == ".dcm"]) == 3
    assert identifiers.leaking(written) == []
    assert identifiers.leaks((said.out + said.err + caplog.text).encode()) == []
    assert identifiers.leaks(everything_in(made.engine).encode()) == []
    assert identifiers.leaking(database_files(made.engine)) == []
    back_up(made.engine, made.store, tmp_path / "backup.zip")
    with zipfile.ZipFile(tmp_path / "backup.zip") as backup:
        saved = b"".join(backup.read(name) for name in backup.namelist())
    assert identifiers.leaks(saved) == [] and (tmp_path / "data" / FOLDER / KEY).read_bytes().strip() not in saved
    assert made.store.open(row.scan_key).hu.max() < 3072            # nothing of the bits that no value uses
    made.engine.dispose()


def everything_in(engine: Engine) -> str:
    with snapshot(engine) as session:
        return "\n".join(repr(tuple(row)) for table in Table.metadata.sorted_tables
                         for row in session.connection().execute(select(table)))


def database_files(engine: Engine) -> list[Path]:
    parsed = make_url(str(engine.url))
    if parsed.get_backend_name() != "sqlite":
        return []
    file = Path(parsed.database or "")
    return sorted(file.parent.glob(f"{file.name}*"))


def test_the_site_can_tell_who_is_behind_a_name_and_the_log_keeps_it(made, keys, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LSS_DATA", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", str(made.engine.url))
    imported(made, keys, piles.write_pile(tmp_path / "pile", patients=1))
    (row,) = rows(made)
    assert main(["import", "--who", row.patient]) == 0
    assert "patient id: MRN-1" in capsys.readouterr().out
    assert main(["import", "--who", row.name]) == 0
    assert f"patient: {row.patient}" in (said := capsys.readouterr().out) and "patient 1/000.dcm" in said
    assert main(["import", "--who", "P-UNKNOWN1"]) == 3
    with snapshot(made.engine) as session:
        events = session.connection().execute(select(Table.metadata.tables["auditevent"])).mappings().all()
    assert [event["subject"] for event in events if event["action"] == "look up pseudonym"] == [row.patient, row.name]


def test_a_bundle_of_a_study_still_goes_where_it_went(made, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DATABASE_URL", str(made.engine.url))
    (tmp_path / "bundle.json").write_text("{}")
    assert main(["import", str(tmp_path / "bundle.json")]) == 3
    assert "bundle" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "--pacs"], ["a", "--pacs", "--collection", "1"],
                                       ["--collection", "1"]])
def test_an_import_of_nothing_or_of_two_things_is_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(["import", *arguments])
    assert end.value.code == 2 and "--collection" in capsys.readouterr().err


def test_the_table_prints_without_a_database(capsys):
    assert main(["import", "--profile"]) == 0 and "| (0010,0010) | Patient's Name" in capsys.readouterr().out
    assert main(["import", "--profile", "csv"]) == 0 and capsys.readouterr().out.startswith("tag,attribute,profile")
