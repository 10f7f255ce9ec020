import numpy as np
import pytest

from lss_core.statistics.agreement import confusion_matrix, weighted_kappa

# SAS PROC FREQ print-out of 19 subjects (statsmodels, test_inter_rater.py, table10); the second rater never used 1.
SAS = np.array([[0, 4, 1], [0, 8, 0], [0, 1, 5]])


def test_published_kappas_with_an_unused_category():
    assert weighted_kappa(SAS, power=0) == pytest.approx(0.4842, abs=5e-5)
    assert weighted_kappa(SAS, power=1) == pytest.approx(0.4701, abs=5e-5)


def test_a_rater_agrees_with_himself():
    grades = [0, 0, 1, 2, 3, 3]
    assert weighted_kappa(confusion_matrix(grades, grades, categories=range(4))) == 1.0


def test_independent_raters_agree_by_chance():
    assert weighted_kappa(np.outer([10, 20, 30, 40], [1, 2, 3, 4])) == pytest.approx(0.0, abs=1e-12)


def test_far_disagreement_costs_more_than_near():
    near, far = np.diag([10, 10, 10, 10]), np.diag([10, 10, 10, 10])
    near[0, 1], far[0, 3] = 5, 5
    assert weighted_kappa(far) < weighted_kappa(near) < 1


def test_kappa_is_undefined_where_chance_agrees_fully():
    assert np.isnan(weighted_kappa(np.diag([9, 0, 0, 0]))) and np.isnan(weighted_kappa(np.zeros((4, 4))))


def test_undeclared_categories_are_an_error():
    with pytest.raises(ValueError, match="declared"):
        confusion_matrix([0, 5], [0, 1], categories=range(4))
