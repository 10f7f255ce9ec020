"""The coded words of a DICOM report: SNOMED CT, DICOM and UCUM where a code is sure, our own scheme 99LSS elsewhere.

The SNOMED CT codes are those of DICOM PS3.16 (CID 244 laterality, CID 7604 intervertebral discs, CID 8134 anatomy,
CID 3716 severity). A lateral recess, the grades and their probabilities have no code there; neither have the
measures: SNOMED's plain "Area" of a region would be read as the area of the box, which it is not.
"""

from __future__ import annotations

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept

from lss_core.vocabulary import CANAL_AP, RECESS_HEIGHT, SAC_AREA, DiscLevel, Grade, Region

SCHEME = "99LSS"
SCHEME_VERSION = "1"


def own(value: str, meaning: str) -> CodedConcept:
    """A code of our scheme."""
    return CodedConcept(value, SCHEME, meaning, SCHEME_VERSION)


def snomed(value: str, meaning: str) -> CodedConcept:
    return CodedConcept(value, "SCT", meaning)


def scheme_item() -> CodingSchemeIdentificationItem:
    """What the scheme is, said in every object that uses it."""
    return CodingSchemeIdentificationItem(
        SCHEME, name="Lumbar Stenosis Studio", version=SCHEME_VERSION,
        responsible_organization="Lumbar Stenosis Studio, open source",
    )


DISCS = {
    DiscLevel.L1_2: snomed("80064006", "L1/L2 disc"),
    DiscLevel.L2_3: snomed("67459009", "L2/L3 disc"),
    DiscLevel.L3_4: snomed("62551000", "L3/L4 disc"),
    DiscLevel.L4_5: snomed("84020006", "L4/L5 disc"),
    DiscLevel.L5_S1: snomed("715056000", "L5/S1 disc"),
}
LUMBAR_SPINE = snomed("122496007", "Lumbar spine")          # where the level is not known
CANAL = snomed("61853006", "Vertebral canal")
RECESS = own("RECESS", "Lateral recess of lumbar vertebral canal")
SITES = {
    Region.CENTRAL_CANAL: CANAL, Region.LEFT_LATERAL_RECESS: RECESS, Region.RIGHT_LATERAL_RECESS: RECESS,
}
LATERALITIES = {
    Region.LEFT_LATERAL_RECESS: snomed("7771000", "Left"),
    Region.RIGHT_LATERAL_RECESS: snomed("24028007", "Right"),
}

GRADE = own("GRADE", "Lumbar stenosis grade, 0 normal to 3 severe")
GRADES = {grade: own(f"GRADE_{int(grade)}", f"Grade {int(grade)} ({grade.label})") for grade in Grade}
NOT_GRADABLE = own("NOT_GRADABLE", "Not gradable")
SEVERITY = snomed("246112005", "Severity")
SEVERITIES = {
    Grade.NORMAL: snomed("17621005", "Normal"),
    Grade.MILD: snomed("255604002", "Mild"),
    Grade.MODERATE: snomed("6736007", "Moderate"),
    Grade.SEVERE: snomed("24484000", "Severe"),
}
PLAUSIBLE = own("PLAUSIBLE_GRADE", "Grade in the set that is made to hold the true grade")
PROBABILITIES = {grade: own(f"P_GRADE_{int(grade)}", f"Probability of grade {int(grade)}") for grade in Grade}
DETECTION = own("DETECTION", "Confidence that the region is found")
MEASURES = {
    SAC_AREA: own("SAC_AREA", "Dural sac cross-sectional area"),
    CANAL_AP: own("CANAL_AP", "Canal front-to-back diameter"),
    RECESS_HEIGHT: own("RECESS_HEIGHT", "Lateral recess height"),
}

SQUARE_MM = CodedConcept("mm2", "UCUM", "square millimeter")
MM = CodedConcept("mm", "UCUM", "millimeter")
NO_UNITS = CodedConcept("1", "UCUM", "no units")
COMMENT = CodedConcept("121106", "DCM", "Comment")
CT = snomed("77477000", "Computed tomography")
