"""Every figure of ../shared/statistics_cases but the multi-reader ones, to its stated tolerance."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from lss_core.statistics.accuracy import agresti_coull, auc, auc_interval, compare_auc, compare_auc_unpaired, delong
from lss_core.statistics.agreement import cohen_kappa
from lss_core.statistics.estimate import clopper_pearson, wilson_interval
from lss_core.statistics.krippendorff import krippendorff_alpha
from lss_core.statistics.many_raters import agreement_among, agreement_of_two
from lss_core.statistics.paired import bowker, cochran_q, mcnemar, stuart_maxwell
from lss_core.statistics.reliability import intraclass_correlation

CASES = Path(__file__).parents[1] / ".." / "shared" / "statistics_cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="../shared/statistics_cases is not here")

# Names of the coefficients in the published cases, where they differ from ours.
COEFFICIENTS = {
    "cohen_kappa": "conger", "cohen": "conger", "scott_pi": "fleiss", "scott": "fleiss", "gwet_ac1": "gwet",
    "krippendorff_alpha": "krippendorff", "percent_agreement": "percent", "pa2": "percent", "bp": "brennan_prediger",
}
TESTED = ("auc_delong_asah", "cochran_q", "fleiss1971_diagnoses", "gwet_3x3_abstractors", "gwet_4raters_12_missing",
          "icc_wine", "kappa_cohen1968_fleiss1969", "kappa_sas_3x3", "krippendorff_4coders_12units",
          "mcnemar_2x2_and_square", "proportion_ci")


def rows_of(case, file="data.csv"):
    return list(csv.DictReader((CASES / case / file).read_text().splitlines()))


def table_of(case, file="data.csv"):
    """Counts [rater_a, rater_b] of the columns rater_a, rater_b, n; categories from 1."""
    rows = rows_of(case, file)
    categories = max(int(row["rater_a"]) for row in rows)
    matrix = np.zeros((categories, categories))
    for row in rows:
        matrix[int(row["rater_a"]) - 1, int(row["rater_b"]) - 1] = float(row["n"])
    return matrix


def ratings_of(case, file="data.csv", *, skip=1):
    """[case, rater], the columns after the first `skip`, NaN where a cell is empty."""
    return np.array([[float(cell or "nan") for cell in list(row.values())[skip:]] for row in rows_of(case, file)])


def check(case, computed):
    """Every published figure of a case against `computed(id)`; what is not computed is an error."""
    for each in json.loads((CASES / case / "expected.json").read_text())["expected"]:
        assert computed(each["id"]) == pytest.approx(each["value"], abs=each["tol"], rel=0), f"{case}: {each['id']}"


def part_of(agreement, name):
    return {
        "coef": agreement.estimate.value, "se": agreement.standard_error, "ci_low": agreement.estimate.low,
        "ci_high": agreement.estimate.high, "pa": agreement.observed, "pe": agreement.chance,
    }[name]


def split(figure):
    """(coefficient, weights, part) of "gwet.linear.coef" or "gwet_ac1.coef"."""
    first, *weights, part = figure.split(".")
    return COEFFICIENTS.get(first, first), "none" if weights in ([], ["identity"]) else weights[0], part


def test_no_published_case_is_forgotten():
    others = {path.name for path in CASES.iterdir() if path.is_dir()} - set(TESTED)
    assert all(name.startswith(("mrmc_", "model_vs_readers_")) for name in others), others


def asah():
    """Scores by name, and whether the outcome was poor."""
    rows = rows_of("auc_delong_asah")
    scores = {name: np.array([float(row[name]) for row in rows]) for name in ("wfns", "ndka", "s100b")}
    return scores, np.array([row["outcome"] == "Poor" for row in rows])


def test_areas_and_delongs_variances_of_asah():
    scores, poor = asah()
    names = tuple(scores)
    _, covariance = delong(np.stack(list(scores.values())), poor)

    def computed(figure):
        kind, *rest = figure.split(".")
        if kind == "auc":
            return auc(scores[rest[0]], poor)
        if kind in ("var", "cov"):
            a, b = (rest[0].split("_") * 2)[:2]
            return covariance[names.index(a), names.index(b)]
        if kind.startswith("ci95"):
            return getattr(auc_interval(scores[rest[0]], poor), kind.removeprefix("ci95_"))
        if rest[0] == "identical_curves":
            return compare_auc(scores["wfns"], scores["wfns"], poor).p_value
        result = compare_auc(*(scores[name] for name in rest[0].split("-")), poor)
        low, high = result.difference.low, result.difference.high
        z = result.difference.value / ((high - low) / (2 * norm.ppf(0.975)))
        return {"z": z, "p": result.p_value, "diff_ci_low": low, "diff_ci_high": high}[rest[1]]

    check("auc_delong_asah", computed)


@pytest.mark.parametrize(("a", "b", "d", "p"), [
    ("wfns", "s100b", 1.43490640926908, 0.152825378808796), ("wfns", "ndka", 3.10125096778969, 0.00220950791756457),
    ("ndka", "s100b", -1.55995743389685, 0.120192832430845),
])
def test_areas_of_asah_compared_as_if_they_were_of_different_patients(a, b, d, p):
    """As in pROC, tests/testthat/test-roc.test.R."""
    scores, poor = asah()
    result = compare_auc_unpaired(scores[a], poor, scores[b], poor)
    error = (delong(scores[a], poor)[1][0, 0] + delong(scores[b], poor)[1][0, 0]) ** 0.5
    assert result.p_value == pytest.approx(p, abs=1e-9) and result.difference.value / error == pytest.approx(d)


def test_cochrans_q():
    def computed(figure):
        name, part = figure.split(".")
        result = cochran_q(ratings_of("cochran_q", f"data_{name}.csv", skip=0))
        return result.statistic if part == "Q" else result.df

    check("cochran_q", computed)


def test_fleiss_kappa_of_his_own_example():
    ratings = ratings_of("fleiss1971_diagnoses")
    kappa = agreement_among(ratings, categories=range(1, 6), coefficient="fleiss")
    totals = [int((ratings == category).sum()) for category in range(1, 6)]
    check("fleiss1971_diagnoses", {
        "fleiss_kappa": kappa.estimate.value, "z": kappa.z, "category_totals": totals}.__getitem__)


def test_gwets_coefficients_of_two_abstractors():
    table = table_of("gwet_3x3_abstractors")

    def computed(figure):
        coefficient, weights, part = split(figure)
        return part_of(agreement_of_two(table, coefficient=coefficient, weights=weights), part)

    check("gwet_3x3_abstractors", computed)
    assert cohen_kappa(table).standard_error == pytest.approx(computed("cohen_kappa.se"), abs=1e-12)


def test_gwets_coefficients_of_four_raters_with_missing_ratings():
    ratings = ratings_of("gwet_4raters_12_missing")

    def computed(figure):
        coefficient, weights, part = split(figure)
        result = agreement_among(ratings, categories=range(1, 6), coefficient=coefficient, weights=weights)
        return part_of(result, part)

    check("gwet_4raters_12_missing", computed)


def test_intraclass_correlations_of_wines():
    scores = np.zeros((8, 4))
    for row in rows_of("icc_wine"):
        scores[int(row["target"]) - 1, "ABCD".index(row["rater"])] = float(row["score"])
    forms = {"ICC1": "1", "ICC2": "A,1", "ICC3": "C,1", "ICC1k": "1,k", "ICC2k": "A,k", "ICC3k": "C,k"}

    def computed(figure):
        name, *interval = figure.split(".")
        estimate = intraclass_correlation(scores, form=forms[name]).estimate
        return [estimate.low, estimate.high] if interval else estimate.value

    check("icc_wine", computed)


def test_kappas_of_cohen_1968_and_fleiss_cohen_everitt_1969():
    case = "kappa_cohen1968_fleiss1969"
    cohen, fleiss = table_of(case, "data_cohen1968.csv"), table_of(case, "data_fleiss1969.csv")
    dissimilar = 1 - np.array([[0, 1, 3], [1, 0, 6], [3, 6, 0]]) / 6
    similar = np.array([[1, 0, 0.4444], [0, 1, 0.6667], [0.4444, 0.6667, 1]])

    def interval(agreement):
        return [agreement.estimate.low, agreement.estimate.high]

    quadratic = cohen_kappa(fleiss, weights="quadratic")
    check(case, {
        "cohen1968.kappa": cohen_kappa(cohen).estimate.value,
        "cohen1968.weighted_kappa(disagreement weights 0 1 3/1 0 6/3 6 0)":
            cohen_kappa(cohen, weights=dissimilar).estimate.value,
        "cohen1968.kappa.full": cohen_kappa(cohen).estimate.value,
        "cohen1968.kappa_ci": interval(cohen_kappa(cohen)),
        "fleiss1969.kappa": cohen_kappa(fleiss).estimate.value,
        "fleiss1969.kappa_ci": interval(cohen_kappa(fleiss)),
        "fleiss1969.quadratic_kappa": quadratic.estimate.value,
        "fleiss1969.quadratic_ase": quadratic.standard_error,
        "fleiss1969.quadratic_ci": interval(quadratic),
        "fleiss1969.weighted(similarity 1 0 .4444/0 1 .6667/.4444 .6667 1)":
            cohen_kappa(fleiss, weights=similar).estimate.value,
    }.__getitem__)


def test_kappas_as_sas_prints_them_with_an_unused_category():
    table = table_of("kappa_sas_3x3")

    def computed(figure):
        name, part = figure.split(".")
        kappa = cohen_kappa(table, weights={"unweighted": "none"}.get(name, name))
        return {
            "kappa": kappa.estimate.value, "ase": kappa.standard_error, "ci_low": kappa.estimate.low,
            "ci_high": kappa.estimate.high, "ase_h0": kappa.null_error, "z": kappa.z, "p_two_sided": kappa.p_value,
        }[part]

    check("kappa_sas_3x3", computed)


def test_krippendorffs_own_example():
    ratings = ratings_of("krippendorff_4coders_12units")

    def computed(figure):
        _, name, *_ = figure.split(".")
        if name == "se":
            return agreement_among(ratings, categories=range(1, 6), coefficient="krippendorff").standard_error
        return krippendorff_alpha(ratings, metric=name, resamples=20).value

    check("krippendorff_4coders_12units", computed)


def test_square_tables_by_mcnemar_stuart_maxwell_and_bowker():
    case = "mcnemar_2x2_and_square"

    def computed(figure):
        size, part = figure.split(".")
        table = table_of(case, f"data_{size}.csv")
        b, c = int(table[0, 1]), int(table[1, 0])
        return {
            "chi2_uncorrected": lambda: stuart_maxwell(table).statistic, "exact_p": lambda: mcnemar(b, c),
            "corrected_p": lambda: mcnemar(b, c, method="corrected"),
            "uncorrected_p": lambda: mcnemar(b, c, method="chi2"),
            "stuart_maxwell": lambda: stuart_maxwell(table).statistic, "bowker": lambda: bowker(table).statistic,
            "bowker_p": lambda: bowker(table).p_value,
        }[part]()

    check(case, computed)


def test_intervals_of_proportions():
    intervals = {"wilson": wilson_interval, "clopper_pearson": clopper_pearson, "agresti_coull": agresti_coull}

    def computed(figure):
        of, method, side = figure.split(".")
        return getattr(intervals[method](*map(int, of.split("/"))), side)

    check("proportion_ci", computed)


def test_areas_of_van_dyke():
    rows = rows_of("mrmc_vandyke")
    published = {
        each["id"]: each for each in json.loads((CASES / "mrmc_vandyke" / "expected.json").read_text())["expected"]
    }
    for treatment in "12":
        for reader in "12345":
            chosen = [row for row in rows if row["treatment"] == treatment and row["reader"] == reader]
            figure = published[f"auc[t{treatment},r{reader}]"]
            area = auc(np.array([float(row["rating"]) for row in chosen]),
                       np.array([row["truth"] == "1" for row in chosen]))
            assert area == pytest.approx(figure["value"], abs=figure["tol"])
