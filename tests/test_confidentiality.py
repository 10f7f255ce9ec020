"""De-identification: what the table does not name goes, and what stays passes a check."""

from __future__ import annotations

import csv
import shutil
import subprocess
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_dataset
from pydicom.uid import ExplicitVRLittleEndian

from lss_core.imaging.confidentiality import deidentified, deidentify_file, write_deidentified
from lss_core.imaging.confidentiality_table import (
    Action,
    as_csv,
    as_markdown,
    read_table,
    rules_that_leave_something,
)
from lss_core.imaging.confidentiality_values import WORDS, capped_age, checked, shifted
from lss_core.imaging.limits import Limits
from lss_core.imaging.pseudonyms import SiteKeys
from lss_core.imaging.sources import Source, Unusable
from tests import identifiers, scans
from tests.identifiers import ATTRIBUTES, UID_SECRET, leaks, planted_slice, secret_of

PATIENT = "P-7F3K2M9Q"
TEXT = {"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UN", "UR", "UT"}
ADDED = {0x00080005, 0x00120062, 0x00120063, 0x00120064, 0x00280303}      # what says that identity was removed


@pytest.fixture
def keys(tmp_path: Path) -> SiteKeys:
    return SiteKeys.of(tmp_path / "site's own")


def source(path: Path) -> Source:
    return Source(path.name, path.stat().st_size, path)


def clean_file(path: Path, keys: SiteKeys, patient: str = PATIENT) -> FileDataset:
    return deidentify_file(source(path), keys=keys, patient=patient, limits=Limits())


def written(ds: FileDataset) -> bytes:
    stream = BytesIO()
    dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


def test_the_table_holds_every_row_of_the_standards_profile():
    # PS3.15 table E.1-1 of edition 2024e: 621 rows, by their basic profile codes.
    rows = [rule for rule in read_table() if rule.profile != "-"]
    assert len(rows) == 621 and len({rule.tag for rule in rows}) == 621
    codes = [rule.profile for rule in rows]
    assert (codes.count("X"), codes.count("D"), codes.count("U"), codes.count("Z")) == (384, 92, 54, 42)
    assert read_table()[-1].action is Action.REMOVE and read_table()[-1].tag == "(any,other)"


def test_nothing_of_the_profile_is_kept_but_by_an_option_that_is_taken():
    """Where the standard removes or replaces, what stays here is a pseudonym, a keyed UID, a shifted date, or sex and
    age."""
    kept = {rule.attribute: rule for rule in read_table() if rule.profile != "-" and rule.action is not Action.REMOVE}
    for rule in kept.values():
        is_shifted = rule.how == "date" and rule.modified_dates == "C"
        is_characteristic = rule.how in ("sex", "age") and rule.characteristics == "K"
        assert rule.action in (Action.EMPTY, Action.REPLACE, Action.UID) or is_shifted or is_characteristic, rule
    assert len(kept) == 19


def test_free_text_leaves_only_as_a_pseudonym_or_a_known_word():
    for tag, rule in rules_that_leave_something().items():
        if dictionary_VR(tag) in TEXT:
            known = ("pseudonym", "manufacturer", "kernel", "rescale-type")
            assert rule.action is Action.EMPTY or rule.how in known, rule


def test_the_table_prints_for_review():
    rows = list(csv.DictReader(StringIO(as_csv())))
    assert len(rows) == len(read_table()) and rows[0]["meaning"]
    assert as_markdown().count("\n| (") == len(read_table())


@pytest.mark.parametrize("tag", [pytest.param(tag, id=f"{tag:08X}") for tag in sorted(rules_that_leave_something())])
def test_a_secret_in_an_attribute_of_which_something_stays_does_not_stay(tag, keys):
    ds = Dataset()
    ds.add(secret_of(tag))
    clean = FileDataset("", deidentified(ds, keys=keys, patient=PATIENT), preamble=b"\0" * 128)
    clean.file_meta = identifiers.meta()
    assert leaks(written(clean)) == []


def test_a_short_number_amid_the_digits_of_a_random_uid_is_no_leak():
    assert leaks(b"2.25.2081313371957481922") == [] and leaks("2.25.20813133719".encode("utf-16-le")) == []
    assert leaks(b"aged 31337, 748192") == ["748192", "31337"]
    assert leaks("was 31337".encode("utf-16-le")) == ["31337"]


def test_a_secret_under_another_type_than_the_attributes_own_does_not_stay(keys):
    """Explicit files name a type for each value, and may lie."""
    for tag in rules_that_leave_something():
        for vr in identifiers.OF_VR:
            element = identifiers.explicit_element(tag, vr, b"Zyxwvut^7481923 19470213")
            ds = read_dataset(BytesIO(element), is_implicit_VR=False, is_little_endian=True)
            clean = FileDataset("", deidentified(ds, keys=keys, patient=PATIENT), preamble=b"\0" * 128)
            clean.file_meta = identifiers.meta()
            assert tag in ds and leaks(written(clean)) == [], (f"{tag:08X}", vr)


def test_no_secret_of_a_file_with_one_in_every_attribute_is_in_what_is_written(keys, tmp_path):
    hu = scans.random_hu(1, shape=(32, 32))
    ds = planted_slice(position=(0, 0, 0), number=1, series_uid=UID_SECRET, hu=hu)
    path = scans.save(ds, tmp_path / "planted.dcm")
    assert set(leaks(path.read_bytes())) >= set(identifiers.SECRETS) - {"31337"} and len(ds) > 0.9 * len(ATTRIBUTES)
    clean = clean_file(path, keys)
    content = written(clean)
    assert leaks(content) == []
    assert {int(element.tag) for element in clean} <= set(rules_that_leave_something()) | ADDED
    assert np.array_equal(np.frombuffer(dcmread(BytesIO(content)).PixelData, "<u2").reshape(hu.shape), hu + 1024)


def test_only_what_the_table_leaves_is_read_from_the_file(keys, tmp_path):
    """So that a value of another attribute cannot even reach a log."""
    path = scans.save(scans.ct_slice(np.zeros((32, 32)), planted=True), tmp_path / "a.dcm")
    clean = clean_file(path, keys)
    assert not any(element.tag.is_private for element in clean.iterall())
    assert "StationName" not in clean and "SeriesDescription" not in clean


@pytest.mark.parametrize("transfer_syntax", scans.LOSSLESS)
def test_pixels_stay_as_they_are_whatever_the_encoding(transfer_syntax, keys, tmp_path):
    hu = scans.random_hu(2, shape=(64, 48))
    path = scans.save(scans.ct_slice(hu, transfer_syntax=transfer_syntax, planted=True), tmp_path / "a.dcm")
    clean = clean_file(path, keys)
    assert np.array_equal(dcmread(BytesIO(written(clean))).pixel_array, hu + 1024)
    assert clean.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_signed_pixels_and_their_padding_keep_their_sign(keys, tmp_path):
    hu = scans.random_hu(3, shape=(8, 8))
    hu[0, 0] = -1024
    ds = scans.ct_slice(hu, signed=True, intercept=0, bits_stored=12)
    ds.add_new(0x00280120, "US", 64512)                                  # -1024, as many scanners write it
    clean = dcmread(BytesIO(written(clean_file(scans.save(ds, tmp_path / "a.dcm"), keys))))
    assert np.array_equal(clean.pixel_array, hu) and clean.PixelPaddingValue == -1024


def test_an_enhanced_ct_keeps_its_geometry_and_nothing_else(keys, tmp_path):
    ds = scans.enhanced_ct(positions=[(0, 0, 3 * index) for index in range(4)])
    for frame in ds.PerFrameFunctionalGroupsSequence:
        frame.PatientName = "Zyxwvut"
        frame.PlanePositionSequence[0].ImageComments = "Zyxwvut"
        identifiers.plant_private(frame)
    clean = clean_file(scans.save(ds, tmp_path / "a.dcm"), keys)
    assert leaks(written(clean)) == []
    places = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in clean.PerFrameFunctionalGroupsSequence]
    assert places == [[0, 0, 3 * index] for index in range(4)]
    assert np.array_equal(dcmread(BytesIO(written(clean))).pixel_array, ds.pixel_array)


def test_values_that_do_not_begin_at_the_lowest_bit_are_not_guessed(keys, tmp_path):
    ds = scans.ct_slice(np.zeros((8, 8)), bits_stored=12, HighBit=15)
    with pytest.raises(Unusable, match="lowest bit"):
        clean_file(scans.save(ds, tmp_path / "a.dcm"), keys)


def test_uids_of_a_series_stay_together_and_are_nobody_elses(keys, tmp_path):
    paths = scans.write_series(tmp_path / "a", planted=True)
    clean = [clean_file(path, keys) for path in paths]
    assert len({ds.SeriesInstanceUID for ds in clean}) == 1 and len({ds.SOPInstanceUID for ds in clean}) == len(paths)
    assert clean[0].SeriesInstanceUID != dcmread(paths[0]).SeriesInstanceUID
    assert clean[0].SeriesInstanceUID == clean_file(paths[0], keys).SeriesInstanceUID
    assert clean[0].SeriesInstanceUID != clean_file(paths[0], SiteKeys.of(tmp_path / "b")).SeriesInstanceUID
    assert all(ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID for ds in clean)


def test_dates_go_back_together_so_that_intervals_stay(keys, tmp_path):
    early = scans.save(scans.ct_slice(np.zeros((8, 8)), StudyDate="20190317"), tmp_path / "a.dcm")
    late = scans.save(scans.ct_slice(np.zeros((8, 8)), StudyDate="20200317"), tmp_path / "b.dcm")
    dates = [clean_file(path, keys).StudyDate for path in (early, late)]
    assert shifted("20200317", keys.shift_days(PATIENT)) == dates[1] != "20200317"
    assert (np.datetime64(f"{dates[1][:4]}-{dates[1][4:6]}-{dates[1][6:]}")
            - np.datetime64(f"{dates[0][:4]}-{dates[0][4:6]}-{dates[0][6:]}")).astype(int) == 366
    assert clean_file(early, keys, "P-OTHER").StudyDate != dates[0]


@pytest.mark.parametrize(("age", "kept"), [("061Y", "061Y"), ("089Y", "089Y"), ("097Y", "089Y"), ("018M", "001Y"),
                                           ("061", None), ("Zyxwvut", None), ("", None)])
def test_an_age_is_whole_years_and_at_most_89(age, kept):
    assert capped_age(age) == kept


@pytest.mark.parametrize(("values", "how", "kept"), [
    (["120.7481923"], "number 20 300 0", [121]), (["7481923"], "number 0 9999 0", None),
    (["1.00000074819"], "number 0 9 4", [1.0]), ([float("nan")], "number 0 9 0", None), (["x"], "number 0 9 0", None),
    (["0.5", "0.7"], "number 0 9 4", [0.5, 0.7]), ([1] * 9, "number 0 9 0", None), ([], "number 0 9 0", None),
    (["19470230"], "date", None), (["1947.02.13"], "date", None), (["00010101"], "date", None),
    (["ORIGINAL", "Zyxwvut", "AXIAL"], "image-type", ["ORIGINAL", "AXIAL"]), (["m"], "sex", ["M"]),
    (["Zyxwvut"], "sex", None), ([UID_SECRET], "standard-uid", None),
])  # fmt: skip
def test_a_check_keeps_what_it_knows(values, how, kept):
    assert checked(values, how, shift_days=10) == kept


def test_words_that_are_kept_name_nobody():
    assert all(len(word) <= 16 for words in WORDS.values() for word in words)


def test_what_was_done_is_said_in_the_file(keys, tmp_path):
    clean = clean_file(scans.save(scans.ct_slice(np.zeros((8, 8))), tmp_path / "a.dcm"), keys)
    assert clean.PatientIdentityRemoved == "YES" and clean.PatientName == clean.PatientID == PATIENT
    codes = {code.CodeValue for code in clean.DeidentificationMethodCodeSequence}
    assert codes == {"113100", "113107", "113108"}          # PS3.16 context group 7050


def test_a_series_that_breaks_off_is_refused_without_its_files_names(keys, tmp_path):
    paths = scans.write_series(tmp_path / "a")
    paths[1].write_bytes(paths[1].read_bytes()[:900])
    named = [Source(f"file {n}", path.stat().st_size, path) for n, path in enumerate(paths, 1)]
    with pytest.raises(Exception, match="file 2 cannot be de-identified: it is truncated"):
        write_deidentified(named, tmp_path / "out", keys=keys, patient=PATIENT, limits=Limits())
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["0000.dcm"]


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed (Debian: dicom3tools)")
def test_what_is_written_is_a_valid_ct_image(keys, tmp_path):
    ds = scans.ct_slice(scans.random_hu(1, shape=(64, 64)), planted=True, PatientPosition="HFS")
    out = tmp_path / "clean.dcm"
    out.write_bytes(written(clean_file(scans.save(ds, tmp_path / "a.dcm"), keys)))
    told = subprocess.run(["dciodvfy", "-new", out], capture_output=True, text=True, timeout=60).stderr
    assert [line for line in told.splitlines() if line.startswith("Error")] == [] and "CTImage" in told
