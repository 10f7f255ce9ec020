"""Who a file is of, read apart from what it shows and turned into keyed names at once.

These values never leave this module but as pseudonyms and digests, and as the lines of the site's encrypted list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from lss_core.imaging.confidentiality_values import DATE, OLDEST_YEARS, WORDS, age_years
from lss_core.imaging.pseudonyms import SiteKeys

IDENTIFYING = (
    "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex", "PatientAge",
    "StudyInstanceUID", "StudyDate", "BurnedInAnnotation", "LossyImageCompression",
)  # fmt: skip
# What exports write instead of an id or a name; it says nothing of who it is.
NOBODY = {"", "0", "1", "ID", "ANON", "ANONYMOUS", "ANONYMIZED", "ANONYMISED", "DEIDENTIFIED", "UNKNOWN", "NONE", "NA",
          "XXX", "TEST", "PATIENT"}
SCREEN = "SCREEN SAVE"                          # as GE and others mark a picture of the console's screen
SPACES = re.compile(r"[\s^]+")


@dataclass(frozen=True)
class Identity:
    """What a header says of the patient; never shown."""

    patient_id: str = field(repr=False)
    issuer: str = field(repr=False)
    name: str = field(repr=False)
    birth_date: str = field(repr=False)
    study_date: str = field(repr=False)
    study_uid: str = field(repr=False)
    sex: str = ""                               # M, F, O or nothing
    stated_age: int | None = None
    says_burned_in: bool = False
    is_lossy: bool = False

    def pseudonym(self, keys: SiteKeys) -> str:
        """By the patient's number; without one by name and birth date; without these each study is a patient."""
        if self.patient_id.upper() not in NOBODY:
            return keys.name("P", "id", self.patient_id, self.issuer)
        if self.has_person:
            return keys.name("P", "person", self.name, self.birth_date)
        return keys.name("P", "study", self.study_uid)

    def person_digest(self, keys: SiteKeys) -> str:
        """Equal for two files with the same name, birth date and sex, whatever their numbers; "" where one lacks."""
        return keys.digest("person", self.name, self.birth_date, self.sex) if self.has_person and self.sex else ""

    @property
    def has_person(self) -> bool:
        return self.name.upper() not in NOBODY and bool(DATE.fullmatch(self.birth_date))

    @property
    def age_years(self) -> int | None:
        """As stated, else from the two dates; at most 89."""
        if self.stated_age is not None:
            return self.stated_age
        born, seen = DATE.fullmatch(self.birth_date), DATE.fullmatch(self.study_date)
        if not born or not seen:
            return None
        years = int(seen[1]) - int(born[1]) - ((seen[2], seen[3]) < (born[2], born[3]))
        return min(years, OLDEST_YEARS) if 0 <= years <= 130 else None

    def for_the_list(self) -> dict[str, str]:
        """What the site keeps, encrypted, to find the patient again."""
        told = {"patient id": self.patient_id, "issuer": self.issuer, "name": self.name, "born": self.birth_date}
        return {name: text for name, text in told.items() if text}


def identity_of(header: Dataset) -> Identity:
    """What a parsed header says of the patient."""
    sex = _text(header, "PatientSex").upper()
    return Identity(
        patient_id=_text(header, "PatientID"), issuer=_text(header, "IssuerOfPatientID"),
        name=SPACES.sub(" ", _text(header, "PatientName")).strip().upper(),
        birth_date=_text(header, "PatientBirthDate"), study_date=_text(header, "StudyDate"),
        study_uid=_text(header, "StudyInstanceUID"),
        sex=sex if sex in WORDS["sex"] else "", stated_age=age_years(_text(header, "PatientAge")),
        says_burned_in=_text(header, "BurnedInAnnotation").upper() == "YES" or SCREEN in _text(header, "ImageType"),
        is_lossy=_text(header, "LossyImageCompression") == "01",
    )


def _text(header: Dataset, keyword: str) -> str:
    value = header.get(keyword)
    return "" if value is None else str(value).strip()
