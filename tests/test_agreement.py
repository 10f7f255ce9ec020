import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import cohen_kappa_score

from lss_core.statistics.agreement import confusion_by_cluster, confusion_matrix, gwet_ac, weighted_kappa

CASES = Path(__file__).parents[1] / ".." / "shared" / "statistics_cases"
# SAS PROC FREQ print-out of 19 subjects (statsmodels, test_inter_rater.py, table10); the second rater never used 1.
SAS = np.array([[0, 4, 1], [0, 8, 0], [0, 1, 5]])
# 100 women, two abstractors (Gwet, Handbook of Inter-Rater Reliability, 2014; kgwet/irrCAC, README).
GWET = np.array([[13, 0, 0], [0, 20, 7], [0, 4, 56]])
KAPPAS = (weighted_kappa, gwet_ac)

unhurried = settings(deadline=None)          # the machine may be busy
counts = arrays(int, (4, 4), elements=st.integers(0, 30))
powers = st.sampled_from([0, 1, 2])


def table(path):
    """Counts [rater_a, rater_b] of a file with the columns rater_a, rater_b, n; categories from 1."""
    rows = list(csv.DictReader(path.read_text().splitlines()))
    categories = max(int(row["rater_a"]) for row in rows)
    matrix = np.zeros((categories, categories))
    for row in rows:
        matrix[int(row["rater_a"]) - 1, int(row["rater_b"]) - 1] = float(row["n"])
    return matrix


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/statistics_cases is not here")
@pytest.mark.parametrize(("case", "file", "figure", "computed"), [
    ("kappa_sas_3x3", "data.csv", "unweighted.kappa", lambda m: weighted_kappa(m, power=0)),
    ("kappa_sas_3x3", "data.csv", "linear.kappa", lambda m: weighted_kappa(m, power=1)),
    ("kappa_cohen1968_fleiss1969", "data_cohen1968.csv", "cohen1968.kappa", lambda m: weighted_kappa(m, power=0)),
    ("kappa_cohen1968_fleiss1969", "data_fleiss1969.csv", "fleiss1969.kappa", lambda m: weighted_kappa(m, power=0)),
    ("kappa_cohen1968_fleiss1969", "data_fleiss1969.csv", "fleiss1969.quadratic_kappa", weighted_kappa),
    ("gwet_3x3_abstractors", "data.csv", "cohen_kappa.coef", lambda m: weighted_kappa(m, power=0)),
    ("gwet_3x3_abstractors", "data.csv", "cohen.linear.coef", lambda m: weighted_kappa(m, power=1)),
    ("gwet_3x3_abstractors", "data.csv", "cohen.quadratic.coef", weighted_kappa),
    ("gwet_3x3_abstractors", "data.csv", "gwet_ac1.coef", gwet_ac),
    ("gwet_3x3_abstractors", "data.csv", "gwet.linear.coef", lambda m: gwet_ac(m, power=1)),
    ("gwet_3x3_abstractors", "data.csv", "gwet.quadratic.coef", lambda m: gwet_ac(m, power=2)),
])
def test_published_cases(case, file, figure, computed):
    expected = {each["id"]: each for each in json.loads((CASES / case / "expected.json").read_text())["expected"]}
    published = expected[figure]
    assert computed(table(CASES / case / file)) == pytest.approx(published["value"], abs=published["tol"])


def test_published_kappas_with_an_unused_category():
    assert weighted_kappa(SAS, power=0) == pytest.approx(0.4842, abs=5e-5)
    assert weighted_kappa(SAS, power=1) == pytest.approx(0.4701, abs=5e-5)


def test_gwets_published_coefficients():
    assert gwet_ac(GWET) == pytest.approx(0.8493305, abs=1e-6)
    assert gwet_ac(GWET, power=1) == pytest.approx(0.900, abs=6e-4)
    assert gwet_ac(GWET, power=2) == pytest.approx(0.940, abs=6e-4)


@unhurried
@given(pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
def test_kappa_equals_that_of_scikit_learn(pairs):
    reference, rating = map(list, zip(*pairs, strict=True))
    matrix = confusion_matrix(reference, rating, categories=range(4))
    assume(not np.isnan(weighted_kappa(matrix)))
    for power, weights in ((0, None), (1, "linear"), (2, "quadratic")):
        theirs = cohen_kappa_score(reference, rating, labels=[0, 1, 2, 3], weights=weights)
        assert weighted_kappa(matrix, power=power) == pytest.approx(theirs)


@unhurried
@given(grades=st.lists(st.integers(0, 3), min_size=1, max_size=30), power=powers)
def test_a_rater_agrees_with_himself(grades, power):
    matrix = confusion_matrix(grades, grades, categories=range(4))
    assert gwet_ac(matrix, power=power) == pytest.approx(1.0)
    if len(set(grades)) > 1:
        assert weighted_kappa(matrix, power=power) == 1.0


@unhurried
@given(matrix=counts, power=powers)
def test_agreement_does_not_depend_on_who_is_first_nor_on_the_direction_of_the_scale(matrix, power):
    for coefficient in KAPPAS:
        value = coefficient(matrix, power=power)
        assert coefficient(matrix.T, power=power) == pytest.approx(value, nan_ok=True)
        assert coefficient(matrix[::-1, ::-1], power=power) == pytest.approx(value, nan_ok=True)
        assert coefficient(matrix * 3.0, power=power) == pytest.approx(value, nan_ok=True)


@unhurried
@given(matrix=counts, order=st.permutations(range(4)))
def test_unweighted_agreement_does_not_depend_on_the_order_of_categories(matrix, order):
    for coefficient in KAPPAS:
        relabelled = coefficient(matrix[np.ix_(order, order)], power=0)
        assert relabelled == pytest.approx(coefficient(matrix, power=0), nan_ok=True)


@unhurried
@given(matrices=arrays(int, (5, 4, 4), elements=st.integers(0, 4)), power=powers)
def test_many_matrices_at_once_equal_one_by_one(matrices, power):
    matrices[0] = 0
    for coefficient in KAPPAS:
        together = coefficient(matrices, power=power)
        assert together == pytest.approx([coefficient(m, power=power) for m in matrices], nan_ok=True)
        assert coefficient(matrices[None], power=power).shape == (1, 5)


def test_independent_raters_agree_by_chance():
    assert weighted_kappa(np.outer([10, 20, 30, 40], [1, 2, 3, 4])) == pytest.approx(0.0, abs=1e-12)


def test_far_disagreement_costs_more_than_near():
    near, far = np.diag([10, 10, 10, 10]), np.diag([10, 10, 10, 10])
    near[0, 1], far[0, 3] = 5, 5
    for coefficient in KAPPAS:
        assert coefficient(far, power=2) < coefficient(near, power=2) < 1


def test_where_all_cases_are_of_one_grade_kappa_is_undefined_and_ac1_is_not():
    one = np.diag([9, 0, 0, 0])
    assert np.isnan(weighted_kappa(one)) and gwet_ac(one) == 1.0
    assert np.isnan(weighted_kappa(np.zeros((4, 4)))) and np.isnan(gwet_ac(np.zeros((4, 4))))
    nearly = np.array([[95, 2, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert weighted_kappa(nearly) < 0 < 0.9 < gwet_ac(nearly)        # kappa's paradox


def test_categories_are_the_declared_ones_not_the_observed():
    matrix = confusion_matrix([0, 0, 3, 3], [0, 3, 3, 3], categories=range(4))
    assert matrix.shape == (4, 4) and matrix[0, 3] == 1 and matrix.sum() == 4
    declared = confusion_matrix([0, 2, 3], [0, 3, 3], categories=range(4))
    observed = confusion_matrix([0, 2, 3], [0, 3, 3], categories=[0, 2, 3])
    assert weighted_kappa(declared, power=1) != pytest.approx(weighted_kappa(observed, power=1))


def test_confusions_of_clusters_sum_to_the_whole():
    reference, rating, patients = [0, 1, 2, 3, 3], [0, 1, 1, 3, 2], ["b", "a", "a", "b", "c"]
    parts = confusion_by_cluster(reference, rating, patients, categories=range(4))
    assert parts.shape == (3, 4, 4) and parts.sum(axis=(1, 2)).tolist() == [2, 2, 1]       # a, b, c
    assert (parts.sum(axis=0) == confusion_matrix(reference, rating, categories=range(4))).all()
    assert confusion_matrix([], [], categories=range(4)).tolist() == np.zeros((4, 4)).tolist()


def test_bad_input_is_an_error():
    with pytest.raises(ValueError, match=r"\[5\]: only \[0, 1, 2, 3\] are declared"):
        confusion_matrix([0, 5], [0, 1], categories=range(4))
    with pytest.raises(ValueError, match="not as many"):
        confusion_matrix([0, 1], [0], categories=range(4))
    with pytest.raises(ValueError, match="square"):
        weighted_kappa(np.ones((4, 3)))
    with pytest.raises(ValueError, match="negative or missing"):
        gwet_ac(np.full((4, 4), np.nan))
