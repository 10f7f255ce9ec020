"""What is computed of a study once and kept: by its record's version and the filter.

Whoever asks has been let in by `results.record_version` in the same run; what is made anew is made through the service,
which asks again.
"""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from lss_core.study import report, results
from lss_core.study.analysis_filter import StudyFilter
from lss_core.study.analysis_values import StudyAnalysis
from lss_core.study.report_html import section_figures
from lss_core.study.results import StudyRecord
from lss_core.study_figures import StudyFigure
from ui.access import Visitor
from ui.study.opened import OpenStudy

RECORDS_KEPT, ANALYSES_KEPT, SECTIONS_KEPT = 8, 64, 256


@dataclass(frozen=True)
class Board:
    """What every tab works on."""

    study: OpenStudy
    visitor: Visitor
    record: StudyRecord
    kept: StudyFilter
    analysis: StudyAnalysis

    def figures(self, section: str) -> list[StudyFigure]:
        """The figures of a section of the report."""
        return _figures(self.analysis, self.record.version, self.kept, section)


def record(study: OpenStudy, version: str) -> StudyRecord:
    """The study's tables and plan.

    Args:
        version: Of the record, just asked of the service.
    """
    return _record(study, version)


def analysis(study: OpenStudy, version: str, kept: StudyFilter) -> StudyAnalysis:
    """The complete analysis of what the filter keeps.

    Raises:
        Refusal: nothing is left.
    """
    return _analysis(record(study, version), version, kept)


@st.cache_resource(show_spinner="Collecting the readings …", max_entries=RECORDS_KEPT)
def _record(_study: OpenStudy, version: str) -> StudyRecord:
    return results.study_record(_study.engine, _study.actor, _study.study_id)


@st.cache_resource(show_spinner="Computing …", max_entries=ANALYSES_KEPT)
def _analysis(_record: StudyRecord, version: str, kept: StudyFilter) -> StudyAnalysis:
    return report.analyse(_record.tables, _record.plan, kept=kept, simulated=_record.simulated)


@st.cache_resource(show_spinner=False, max_entries=SECTIONS_KEPT)
def _figures(_analysis: StudyAnalysis, version: str, kept: StudyFilter, section: str) -> list[StudyFigure]:
    return section_figures(_analysis, section)
