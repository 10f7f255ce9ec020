"""The report's words: what was done, with the real numbers, as a paragraph for a paper."""

from __future__ import annotations

from lss_core.study.analysis_agreement import SAME_SESSION
from lss_core.study.analysis_json import SIMULATED
from lss_core.study.analysis_mrmc import FEW_READERS
from lss_core.study.analysis_values import MrmcResult, RegionKind, StudyAnalysis
from lss_core.study.database import Arm


def methods_text(analysis: StudyAnalysis) -> str:
    """A paragraph on readers, cases, design, tests, versions and seeds."""
    return " ".join(each for each in (
        SIMULATED.strip() if analysis.simulated else "", _readers(analysis), _cases(analysis), _missing(analysis),
        _model(analysis), _figures(analysis), _comparisons(analysis), _aid(analysis), _agreement(analysis),
        _times(analysis), _tests(analysis), _software(analysis),
    ) if each)


def count(n: int, what: str) -> str:
    """ "1 case", "2 cases"."""
    return f"{n} {what}{'' if n == 1 else 's'}"


def _readers(analysis: StudyAnalysis) -> str:
    scope = analysis.scope
    levels = ", ".join(f"{n} {level}" for level, n in scope.by_level)
    arms = " and ".join(scope.arms)
    return (f"{count(scope.readers, 'reader')} ({levels}) graded {count(scope.cases, 'case')} {arms} in "
            f"{count(len(scope.sessions), 'session')}.")


def _cases(analysis: StudyAnalysis) -> str:
    scope = analysis.scope
    prevalence = "; ".join(
        f"{kind.label.lower()}: {', '.join(map(str, grades))}" for kind, grades in scope.prevalence if sum(grades)
    )
    return (f"The cases hold {count(scope.regions, 'region')} of {count(scope.patients, 'patient')} with a reference "
            f"grade (regions of grades 0 to 3, {prevalence}). Left and right lateral recess are taken together.")


def _missing(analysis: StudyAnalysis) -> str:
    scope = analysis.scope
    unfinished = sorted({each.reader for each in scope.progress if not each.finished and each.read})
    lacking = f"; {count(len(unfinished), 'reader')} did not read all cases of an arm ({', '.join(unfinished)})" \
        if unfinished else ""
    return (
        f"Of {count(scope.readings, 'reading')} of regions, {scope.not_gradable} gave no grade (not gradable)"
        f"{lacking}. Regions without a grade count as not right in accuracy, sensitivity and specificity of the "
        f"multi-reader analyses and in every accuracy; all other figures are of the regions graded. "
        f"{count(scope.without_reference, 'region')} without a reference grade and {scope.never_read} that nobody read "
        f"are left out. {count(scope.repeats, 'reading')} of repeats are kept out of all but the intra-reader analysis."
    )


def _model(analysis: StudyAnalysis) -> str:
    scope = analysis.scope
    if not scope.versions:
        return "No model was compared."
    lacking = ", ".join(f"{name} {n}" for name, n in scope.model_without_grade)
    return f"Model version {' and '.join(scope.versions)} graded the same regions (without a grade: {lacking})."


def _figures(analysis: StudyAnalysis) -> str:
    plan = analysis.plan
    return (f"Intervals are {100 * (1 - plan.alpha):g} % percentile intervals of {plan.bootstraps} bootstrap resamples "
            f"of patients (seed {plan.seed}); a share of 0 or 1 has Wilson's interval with each patient as one trial. "
            f"Sensitivity, specificity and AUC are of grade >= {plan.cut}. Kappas have quadratic weights over the four "
            "declared grades.")


def _comparisons(analysis: StudyAnalysis) -> str:
    if not analysis.against_readers:
        return ""
    margin = analysis.plan.non_inferiority_margin
    tested = f"; non-inferiority of its accuracy with a margin of {margin:g}" if margin is not None else ""
    return (f"Each version was compared with the average {analysis.scope.main_arm} reader by the single-arm analysis "
            f"of Obuchowski, Rockette and Hillis{tested}. {_who_is_random(analysis.against_readers)}")


def _aid(analysis: StudyAnalysis) -> str:
    if not analysis.aided:
        return ""
    return (f"{Arm.AIDED.capitalize()} was compared with {Arm.UNAIDED.value} reading by the analysis of variance of "
            f"Obuchowski and Rockette with Hillis' degrees of freedom. {_who_is_random(analysis.aided)}")


def _who_is_random(found: tuple[MrmcResult, ...]) -> str:
    whole = next((each for each in found if not each.level), None)
    if whole is None:
        return ""
    if whole.readers_are == "fixed":
        return (f"With {count(whole.readers, 'reader')} ({FEW_READERS} or fewer) readers are fixed: the results speak "
                "of these readers alone.")
    few = f" (of {FEW_READERS} or fewer readers of an experience level: fixed readers)"
    return f"Readers and cases are random{few}; covariances are jackknife estimates over patients, of AUC DeLong's."


def _agreement(analysis: StudyAnalysis) -> str:
    if not analysis.agreement:
        return ""
    hidden = next((each for each in analysis.repeats if each.kind == SAME_SESSION), None)
    repeats = f" Intra-reader agreement is of {count(hidden.everybody.repeats, 'repeat')} " \
              f"({hidden.region.label.lower()})." if hidden else ""
    return f"Agreement is Cohen's kappa with standard errors clustered by patient.{repeats}"


def _times(analysis: StudyAnalysis) -> str:
    if not analysis.times.seconds:
        return ""
    return "Reading times were compared on the log scale with random readers and cases; idle time is left out."


def _tests(analysis: StudyAnalysis) -> str:
    primary = sum(each.family == "primary" for each in analysis.tests)
    return (f"Two-sided p-values are adjusted by Holm within the {count(primary, 'primary test')} (accuracy of all "
            f"readers, {RegionKind.CENTRAL_CANAL.label.lower()} and {RegionKind.LATERAL_RECESS.label.lower()} apart) "
            f"and within the {count(len(analysis.tests) - primary, 'secondary test')}.") if analysis.tests else ""


def _software(analysis: StudyAnalysis) -> str:
    return "Computed with " + ", ".join(f"{name} {value}" for name, value in analysis.environment) + "."
