"""Scans from a PACS by DICOMweb (PS3.18): studies are searched by QIDO-RS, their CT series fetched by WADO-RS.

Only the address that the installation's environment names is ever asked, and its answers lead to no other one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dicomweb_client import DICOMwebClient
from pydicom import dcmwrite
from pydicom.dataset import FileDataset
from requests import Session
from requests.exceptions import InvalidJSONError, RequestException

from lss_core.imaging.parsing import third_party
from lss_core.imaging.sources import Unusable
from lss_core.settings import Settings
from lss_core.vocabulary import Refusal

TIMEOUT_S = (10.0, 120.0)                       # to connect, and between two parts of an answer
STUDIES_AT_ONCE = 100
PLAIN_TEXT = re.compile(r"[^*?\\\x00-\x1f]{0,64}")      # no wildcards: a query for all patients is made on purpose
QUIET = ("dicomweb_client", "urllib3.connectionpool")       # they log addresses, which hold what was searched for
AS_STORED = (("application/dicom", "*"),)       # whatever the transfer syntax; nothing is converted by the server

for _name in QUIET:
    logging.getLogger(_name).setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class PacsQuery:
    """What is searched for; what is empty does not narrow the search."""

    patient_id: str = field(default="", repr=False)
    first_date: date | None = None
    last_date: date | None = None
    body_part: str = ""                         # as the scanner writes it, such as LSPINE
    study_uid: str = ""

    def __post_init__(self) -> None:
        for what, text in (("patient id", self.patient_id), ("body part", self.body_part), ("UID", self.study_uid)):
            if not PLAIN_TEXT.fullmatch(text):
                raise Refusal(f"The {what} of a search is up to 64 characters without * ? or \\; correct it.")
        if self.first_date and self.last_date and self.first_date > self.last_date:
            raise Refusal(f"The search begins on {self.first_date} and ends before, on {self.last_date}; turn them.")

    @property
    def dates(self) -> str:
        """A range of dates as PS3.4 C.2.2.2.5 writes it."""
        first, last = (each.strftime("%Y%m%d") if each else "" for each in (self.first_date, self.last_date))
        return f"{first}-{last}" if first or last else ""


@dataclass(frozen=True)
class PacsSeries:
    """One CT series in the PACS."""

    series_uid: str
    body_part: str
    images: int


@dataclass(frozen=True)
class PacsStudy:
    """One study with its CT series; whose it is, is not asked."""

    study_uid: str = field(repr=False)
    series: tuple[PacsSeries, ...]

    @property
    def images(self) -> int:
        return sum(each.images for each in self.series)


@dataclass(frozen=True)
class Pacs:
    """The one PACS of this installation."""

    url: str
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> Pacs | None:
        """The PACS of LSS_PACS_URL; None where none is named.

        Raises:
            Refusal: the address is none of http or https, or names an account.
        """
        if not settings.pacs_url:
            return None
        parts = urlsplit(settings.pacs_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise Refusal("LSS_PACS_URL is no DICOMweb address: write https://host/dicom-web, and the account into "
                          "LSS_PACS_USER and LSS_PACS_PASSWORD.")
        return cls(settings.pacs_url.rstrip("/"), settings.pacs_user, settings.pacs_password)

    def find(self, query: PacsQuery) -> tuple[PacsStudy, ...]:
        """The studies with CT series that a search finds, in the order of their UIDs.

        Raises:
            Refusal: the PACS does not answer, or not with what was asked.
        """
        with self._asked() as client:
            found = [self._study(client, uid, query) for uid in self._study_uids(client, query)]
        return tuple(sorted((each for each in found if each.series), key=lambda study: study.study_uid))

    def instance_uids(self, study: PacsStudy, series: PacsSeries) -> frozenset[str]:
        """The SOP instance UIDs of a series, without its images."""
        with self._asked() as client:
            found = client.search_for_instances(study.study_uid, series.series_uid, get_remaining=True)
            return frozenset(_text(each, "00080018") for each in found)

    def fetch(self, study: PacsStudy, folder: Path, *, fetched: Callable[[int], bool]) -> bool:
        """Write the images of a study's series into a folder, one after the other; False where told to stop.

        Args:
            fetched: Is told how many images are there; True stops.

        Raises:
            Refusal: the PACS does not answer, or not with images.
        """
        count = 0
        with self._asked() as client:
            for series in study.series:
                for image in client.iter_series(study.study_uid, series.series_uid, media_types=AS_STORED):
                    _write(image, folder / f"{count:06d}.dcm")
                    count += 1
                    if fetched(count):
                        return False
        return True

    def _study_uids(self, client: DICOMwebClient, query: PacsQuery) -> Iterator[str]:
        offset = 0
        while True:
            page = client.search_for_studies(
                limit=STUDIES_AT_ONCE, offset=offset, fields=["StudyInstanceUID"], search_filters=_filters(query)
            )
            yield from (_text(study, "0020000D") for study in page)
            if len(page) < STUDIES_AT_ONCE:
                return
            offset += len(page)

    def _study(self, client: DICOMwebClient, study_uid: str, query: PacsQuery) -> PacsStudy:
        listed = client.search_for_series(
            study_uid, fields=["BodyPartExamined", "NumberOfSeriesRelatedInstances"], search_filters={"Modality": "CT"},
            get_remaining=True,
        )
        series = [
            PacsSeries(_text(each, "0020000E"), _text(each, "00180015"), int(_text(each, "00201209") or 0))
            for each in listed if _text(each, "00080060") in ("", "CT")
        ]
        wanted = query.body_part.upper()
        return PacsStudy(study_uid, tuple(each for each in series if wanted in ("", each.body_part.upper())))

    @contextmanager
    def _asked(self) -> Iterator[DICOMwebClient]:
        """A client of this address alone; what fails is told without quoting an answer, which may name patients."""
        with Session() as session:
            session.trust_env = False           # no proxy or account from files of the environment
            session.max_redirects = 0
            if self.user:
                session.auth = (self.user, self.password)
            try:
                client = DICOMwebClient(self.url, session=session, timeout=TIMEOUT_S)
                client.set_http_retry_params(retry=False)       # an import that fails is begun again, and goes on
                yield client
            except (InvalidJSONError, ValueError, KeyError, TypeError, AttributeError):
                raise Refusal("The PACS of LSS_PACS_URL answers with something else than DICOMweb; check the "
                              "address.") from None
            except RequestException as error:
                status = getattr(error.response, "status_code", None)
                why = f"it answers with status {status}" if status else "it does not answer"
                raise Refusal(f"The PACS of LSS_PACS_URL cannot be used: {why}. Ask whoever runs it.") from None


def _filters(query: PacsQuery) -> dict[str, str]:
    wanted = {"ModalitiesInStudy": "CT", "PatientID": query.patient_id, "StudyDate": query.dates,
              "StudyInstanceUID": query.study_uid}
    return {name: value for name, value in wanted.items() if value}


def _text(found: dict[str, Any], tag: str) -> str:
    """The first value of an element of a DICOM JSON answer."""
    values = found.get(tag, {}).get("Value") or [""]
    return str(values[0])


def _write(image: FileDataset, file: Path) -> None:
    try:
        with third_party():
            dcmwrite(file, image, enforce_file_format=True)
    except Unusable:
        raise Refusal("The PACS sent something that is no whole DICOM image; ask whoever runs it.") from None
