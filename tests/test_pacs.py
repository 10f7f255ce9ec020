"""Scans from a PACS by DICOMweb, against a real Orthanc: found, fetched, imported once; no other address is asked."""

from __future__ import annotations

import json
import logging
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from lss_core.__main__ import main
from lss_core.curation import scans as curated_scans
from lss_core.imaging.dicom import read_scan
from lss_core.imaging.incoming import private_folder
from lss_core.imaging.pacs import Pacs, PacsQuery, PacsStudy
from lss_core.imaging.pseudonyms import SiteKeys
from lss_core.import_report import ImportSummary
from lss_core.scan_import import import_from_pacs, import_into
from lss_core.settings import Settings
from lss_core.vocabulary import Refusal
from tests import piles, scans
from tests.curated import Curated, curated
from tests.orthanc import Orthanc


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Curated]:
    made = curated(f"sqlite:///{tmp_path / 'studies.sqlite'}", tmp_path / "images", patients=0)
    yield made
    made.engine.dispose()


@pytest.fixture
def filled(orthanc: Orthanc, tmp_path: Path) -> Pacs:
    """Three CT studies of two patients with a scout, an MR study, and a client."""
    pile = tmp_path / "pile"
    piles.write_patient(pile / "1", 1, BodyPartExamined="LSPINE", StudyDate="20190317")
    piles.write_patient(pile / "2", 1, study=2, BodyPartExamined="ABDOMEN", StudyDate="20200401")
    piles.write_patient(pile / "3", 2, BodyPartExamined="LSPINE", StudyDate="20210501")
    scout = scans.ct_slice(np.zeros((32, 32)), series_uid="1.2.826.77", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
                           StudyInstanceUID="1.2.826.0.1.3680043.8.498.1.1.1", PatientID="MRN-1")
    scans.save(scout, pile / "scout.dcm")
    scans.save(scans.ct_slice(np.zeros((32, 32)), series_uid="1.2.826.78", Modality="MR", PatientID="MRN-3",
                              SOPClassUID="1.2.840.10008.5.1.4.1.1.4"), pile / "mr.dcm")
    for path in sorted(pile.rglob("*.dcm")):
        upload(orthanc, path)
    return Pacs(orthanc.dicomweb_url)


def upload(orthanc: Orthanc, path: Path) -> None:
    request = urllib.request.Request(f"{orthanc.url}/instances", data=path.read_bytes(), method="POST")
    urllib.request.urlopen(request, timeout=30).close()


def imported(made: Curated, pacs: Pacs, query: PacsQuery, data: Path, **told) -> ImportSummary:
    keys = SiteKeys.of(data)
    return import_from_pacs(made.engine, made.store, made.pi, made.collection_id, pacs, query, keys=keys, **told)


def rows(made: Curated) -> tuple[curated_scans.CuratedScanRow, ...]:
    return curated_scans.scans_of(made.engine, made.pi, made.collection_id)


def test_studies_are_found_by_patient_date_body_part_and_uid(filled):
    def images(query: PacsQuery) -> list[int]:
        return [study.images for study in filled.find(query)]

    assert images(PacsQuery()) == [8, 7, 7]                         # no MR; the first has a scout
    assert images(PacsQuery(patient_id="MRN-1")) == [8, 7]
    assert images(PacsQuery(body_part="lspine")) == [7, 7]
    assert images(PacsQuery(first_date=date(2021, 1, 1))) == images(PacsQuery(first_date=date(2020, 5, 1))) == [7]
    assert images(PacsQuery(first_date=date(2020, 1, 1), last_date=date(2020, 12, 31))) == [7]
    assert images(PacsQuery(study_uid="1.2.826.0.1.3680043.8.498.2.1.1")) == [7]
    assert images(PacsQuery(patient_id="MRN-3")) == images(PacsQuery(patient_id="nobody")) == []


def test_what_is_found_becomes_scans_equal_to_those_from_the_files(made, filled, tmp_path):
    told: list[str] = []
    summary = imported(made, filled, PacsQuery(body_part="LSPINE"), tmp_path / "data", site="North",
                       progress=lambda what, share: told.append(what))
    assert (summary.added, summary.refused, summary.studies) == (2, 0, 2) and told[-1] == "Imported"
    assert {row.site for row in rows(made)} == {"North"} and len({row.patient for row in rows(made)}) == 2
    stored = [made.store.open(row.scan_key).hu for row in rows(made)]
    expected = [read_scan(tmp_path / "pile" / name).hu for name in ("1", "3")]
    assert all(any(np.array_equal(one, other) for other in expected) for one in stored)
    who = SiteKeys.of(tmp_path / "data").patient_list().who(rows(made)[0].name)
    assert who["from"] == "the PACS" and "file" not in who


class CountedPacs(Pacs):
    """Counts the studies that are fetched."""

    fetched_studies: ClassVar[list[str]] = []

    def fetch(self, study: PacsStudy, folder: Path, *, fetched) -> bool:
        self.fetched_studies.append(study.study_uid)
        return super().fetch(study, folder, fetched=fetched)


def test_a_study_that_is_here_is_not_fetched_again(made, filled, tmp_path):
    CountedPacs.fetched_studies.clear()
    pacs = CountedPacs(filled.url)
    assert imported(made, pacs, PacsQuery(), tmp_path / "data").added == 3
    again = imported(made, pacs, PacsQuery(), tmp_path / "data")
    assert (again.added, again.known) == (0, 3) and len(CountedPacs.fetched_studies) == 3


def test_a_series_from_the_pacs_is_known_again_as_files_and_the_other_way_round(made, filled, tmp_path):
    imported(made, filled, PacsQuery(patient_id="MRN-1"), tmp_path / "data")
    keys = SiteKeys.of(tmp_path / "data")
    summary = import_into(made.engine, made.store, made.pi, made.collection_id, [tmp_path / "pile"], keys=keys)
    assert (summary.added, summary.known) == (1, 2)
    assert imported(made, filled, PacsQuery(patient_id="MRN-2"), tmp_path / "data").known == 1


def test_nothing_that_carries_a_name_stays_behind(made, filled, tmp_path):
    imported(made, filled, PacsQuery(), tmp_path / "data")
    incoming = tmp_path / "data" / "site" / "incoming"
    assert list(incoming.iterdir()) == [] and incoming.stat().st_mode & 0o777 == 0o700
    (incoming / "of a killed process").mkdir()
    (incoming / "of a killed process" / "000000.dcm").write_bytes(b"name")
    with private_folder(tmp_path / "data" / "site") as mine:
        with private_folder(tmp_path / "data" / "site"):
            assert mine.is_dir(), "the folder of a living process is left alone"
        assert [path.name for path in incoming.iterdir()] == [mine.name]


def test_a_fetch_that_is_stopped_leaves_nothing_and_goes_on_later(made, filled, tmp_path):
    stops = iter([False] * 12 + [True])
    summary = imported(made, filled, PacsQuery(), tmp_path / "data", stop=lambda: next(stops, True))
    assert summary.stopped and summary.added < 3
    assert list((tmp_path / "data" / "site" / "incoming").iterdir()) == []
    assert summary.added + imported(made, filled, PacsQuery(), tmp_path / "data").added == 3


def test_the_command_line_fetches_and_logs_nothing_of_the_search(made, filled, tmp_path, monkeypatch, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    for name, value in (("LSS_DATA", tmp_path), ("DATABASE_URL", made.engine.url), ("LSS_IMAGES", tmp_path / "images"),
                        ("LSS_PACS_URL", filled.url)):
        monkeypatch.setenv(name, str(value))
    command = ["import", "--pacs", f"--collection={made.token}", "--patient-id", "MRN-2", "--from", "2021-01-01"]
    assert main(command) == 0
    said = capfd.readouterr()
    assert "1 scan added" in said.out and "MRN-2" not in said.out + said.err + caplog.text


def test_without_an_address_there_is_no_pacs(monkeypatch, made, capsys):
    monkeypatch.setenv("DATABASE_URL", str(made.engine.url))
    assert Pacs.from_settings(Settings()) is None
    assert main(["import", "--pacs", f"--collection={made.token}"]) == 3 and "LSS_PACS_URL" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["ftp://pacs/dicom-web", "file:///etc", "pacs:8042", "http://user:word@pacs/dicom-web"])
def test_an_address_that_is_none_of_dicomweb_is_refused(url):
    with pytest.raises(Refusal, match="LSS_PACS_USER"):
        Pacs.from_settings(Settings(pacs_url=url))


def test_the_password_is_not_shown():
    settings = Settings.from_environment({"LSS_PACS_URL": "https://pacs/dicom-web/", "LSS_PACS_USER": "studio",
                                          "LSS_PACS_PASSWORD": "Zyxwvut"})
    pacs = Pacs.from_settings(settings)
    assert pacs == Pacs("https://pacs/dicom-web", "studio", "Zyxwvut")
    assert "Zyxwvut" not in repr(pacs) + repr(settings)


@pytest.mark.parametrize("query", [{"patient_id": "*"}, {"body_part": "L?"}, {"study_uid": "1.2\\1.3"},
                                   {"patient_id": "x" * 65}])
def test_a_search_with_a_wildcard_or_several_values_is_refused(query):
    with pytest.raises(Refusal, match="correct it"):
        PacsQuery(**query)


def test_dates_in_the_wrong_order_are_refused():
    with pytest.raises(Refusal, match="turn them"):
        PacsQuery(first_date=date(2021, 1, 1), last_date=date(2020, 1, 1))


@contextmanager
def answering(status: int, *, body: bytes = b"", **headers: str) -> Iterator[tuple[str, list[str]]]:
    """A server that gives one answer to everything; its address, and what was asked."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers.get('Authorization', '')}")
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_answer_that_points_to_another_address_is_not_followed():
    with answering(200, body=b"[]", Content_Type="application/dicom+json") as (elsewhere, asked_elsewhere), \
            answering(302, Location=f"{elsewhere}/studies") as (here, asked), \
            pytest.raises(Refusal, match="cannot be used"):
        Pacs(here, "studio", "word").find(PacsQuery())
    assert asked and asked[0].endswith("Basic c3R1ZGlvOndvcmQ=") and asked_elsewhere == []


@pytest.mark.parametrize(("status", "body", "told"), [
    (401, b"Zyxwvut", "status 401"), (404, b"Zyxwvut", "status 404"), (200, b"<html>Zyxwvut</html>", "something else"),
    (200, json.dumps([{"0020000D": "Zyxwvut"}]).encode(), "something else"),
])  # fmt: skip
def test_a_pacs_that_does_not_answer_as_it_should_is_told_without_what_it_said(status, body, told):
    with answering(status, body=body, Content_Type="application/dicom+json") as (here, _), \
            pytest.raises(Refusal, match=told) as refusal:
        Pacs(here).find(PacsQuery())
    assert "Zyxwvut" not in str(refusal.value) and refusal.value.__suppress_context__


def test_a_pacs_that_is_not_there_is_told():
    with pytest.raises(Refusal, match="does not answer"):
        Pacs("http://127.0.0.1:9").find(PacsQuery())
