"""Items of reporting guidelines: filled in where the record can answer, and named where only the authors can.

CLAIM (Tejani et al., Radiol. Artif. Intell. 2024;6:e240300), STARD-AI (Sounderajah et al., Nat. Med. 2025)
and DECIDE-AI (Vasey et al., Nat. Med. 2022;28:924-933). Topics are in our words. A number stands
only where it was checked in the published table; of CLAIM 2024 and STARD-AI none could be.
"""

from __future__ import annotations

from dataclasses import dataclass

from lss_core.study.analysis_values import RaterKind, RegionKind, StudyAnalysis
from lss_core.study.report_text import count

CLAIM, STARD_AI, DECIDE_AI = "CLAIM 2024", "STARD-AI", "DECIDE-AI"
BY_AUTHORS = "to be filled in by the authors"
OPEN_ITEMS = {
    CLAIM: ("title and abstract", "scientific and clinical background", "prospective or retrospective",
            "eligibility criteria and how patients were chosen", "how images were acquired", "de-identification",
            "how and by whom the reference standard was set, and why it", "training data and partitions",
            "model's network, training and choice", "demographic and clinical characteristics", "limitations",
            "registration and protocol", "funding and conflicts of interest"),
    STARD_AI: ("intended use and role of the test", "sample size and its reason", "flow of participants",
               "time between test and reference standard", "fairness across groups of patients",
               "availability of data and code", "ethics approval"),
    DECIDE_AI: ("clinical setting and care pathway", "training of the users", "safety and harm",
                "errors of the system in use, and how they were handled", "human factors and usability",
                "patient involvement"),
}
NUMBERS = {
    (DECIDE_AI, "version of the system"): "4a", (DECIDE_AI, "clinical setting and care pathway"): "2b",
    (DECIDE_AI, "training of the users"): "3c",
}


@dataclass(frozen=True)
class Item:
    guideline: str
    topic: str
    answer: str             # BY_AUTHORS where the record cannot answer

    @property
    def item(self) -> str:
        """The guideline's own number; empty where it was not checked."""
        return NUMBERS.get((self.guideline, self.topic), "")


def checklist(analysis: StudyAnalysis) -> tuple[Item, ...]:
    """What the record answers, then what it cannot, for each guideline."""
    answers = _answers(analysis)
    return tuple(
        item for guideline in (CLAIM, STARD_AI, DECIDE_AI)
        for item in (*(Item(guideline, topic, answer) for topic, answer in answers[guideline]),
                     *(Item(guideline, topic, BY_AUTHORS) for topic in OPEN_ITEMS[guideline]))
    )


def _answers(analysis: StudyAnalysis) -> dict[str, list[tuple[str, str]]]:
    scope, plan = analysis.scope, analysis.plan
    missing = (f"{scope.not_gradable} of {scope.readings} readings not gradable; {scope.without_reference} regions "
               f"without reference and {scope.never_read} unread left out; unfinished readers are named in the report")
    software = ", ".join(f"{name} {value}" for name, value in analysis.environment)
    sample = (f"{count(scope.patients, 'patient')}, {count(scope.cases, 'case')}, {count(scope.regions, 'region')}; "
              f"{count(scope.readers, 'reader')}")
    variability = "; ".join(
        f"{panel.region.label.lower()}, {panel.arm}: {each.name} {each.estimate}"
        for panel in analysis.agreement for each in panel.among[:1]
    ) or analysis.why_not("agreement") or "a single reader: not estimable"
    uncertainty = (f"{100 * (1 - plan.alpha):g} % intervals, {plan.bootstraps} bootstraps over patients, seed "
                   f"{plan.seed}; Obuchowski-Rockette-Hillis for readers and cases; Holm")
    failures = f"{len(analysis.hardest)} hardest regions and confusion matrices are in the report"
    accuracy = _accuracy(analysis)
    return {
        CLAIM: [("numbers of patients and cases", sample), ("missing data", missing), ("software", software),
                ("inter- and intra-rater variability", variability), ("metrics", plan.primary),
                ("significance and uncertainty", uncertainty), ("performance with precision", accuracy),
                ("failure analysis", failures)],
        STARD_AI: [("readers and their experience", ", ".join(f"{n} {level}" for level, n in scope.by_level)),
                   ("version of the index test", ", ".join(scope.versions) or "no model"),
                   ("cut of positivity, fixed before", f"grade >= {plan.cut}"), ("indeterminate results", missing),
                   ("distribution of severity", _severity(analysis)), ("estimates with precision", accuracy),
                   ("variability", variability)],
        DECIDE_AI: [("version of the system", ", ".join(scope.versions) or "no model"),
                    ("users and their experience", ", ".join(f"{n} {level}" for level, n in scope.by_level)),
                    ("human-system agreement and change with the aid", _aid(analysis)),
                    ("statistical analysis", uncertainty)],
    }


def _accuracy(analysis: StudyAnalysis) -> str:
    shown = (RaterKind.MODEL, RaterKind.READERS)
    return "; ".join(
        f"{each.region.label.lower()}, {each.rater.label}{f', {each.arm}' if each.arm else ''}: {each.accuracy}"
        for each in analysis.results if each.rater.kind in shown
    )


def _severity(analysis: StudyAnalysis) -> str:
    return "; ".join(f"{RegionKind(kind).label.lower()}, grades 0 to 3: {', '.join(map(str, grades))}"
                     for kind, grades in analysis.scope.prevalence)


def _aid(analysis: StudyAnalysis) -> str:
    whole = [each for each in analysis.aided if not each.level and each.figure == "accuracy"]
    return "; ".join(f"{each.region.label.lower()}: accuracy aided minus unaided {each.difference}" for each in whole) \
        or "no aided arm: not estimable"
