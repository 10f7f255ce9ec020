import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from lss_core.statistics.accuracy import auc_interval_clustered, delong
from lss_core.statistics.mrmc_covariance import METHODS, reader_merits
from lss_core.statistics.mrmc_merit import (
    area,
    binary_accuracy,
    custom,
    exact_accuracy,
    kappa,
    mean_score,
    sensitivity,
    specificity,
)
from lss_core.statistics.mrmc_readings import readings_from_arrays

unhurried = settings(deadline=None, max_examples=25)         # the machine may be busy
MERITS = {
    "area": area(cut=2), "sensitivity": sensitivity(cut=2), "specificity": specificity(cut=2),
    "accuracy": exact_accuracy(), "binary": binary_accuracy(cut=1), "mean": mean_score(),
    "kappa": kappa(categories=range(4)), "unweighted": kappa(categories=range(4), power=0),
    "custom": custom("spread", lambda score, truth: float(np.var(score - truth))),
}


def graded(seed, *, cases=30, readers=3, arms=2, per_patient=1):
    """Grades 0 to 3 that agree with the truth more often than not."""
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(8) % 4, rng.integers(0, 4, cases - 8)])
    scored = np.clip(truth + rng.integers(-1, 2, (arms, readers, cases)), 0, 3)
    return readings_from_arrays(scored, truth, clusters=np.arange(cases) // per_patient)


def left_out_one_by_one(readings, merit):
    """The jackknife covariance by its definition."""
    patients = np.unique(readings.clusters[merit.used(readings.truth)])
    without = np.array([[merit.value(scored[readings.clusters != each], readings.truth[readings.clusters != each])
                         for each in patients] for scored in readings.score.reshape(-1, len(readings.cases))])
    return np.cov(without) * (len(patients) - 1) ** 2 / len(patients)


@unhurried
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 4]), st.sampled_from(sorted(MERITS)))
def test_jackknife_is_leaving_out_one_patient_at_a_time(seed, per_patient, name):
    made = graded(seed, per_patient=per_patient)
    found = reader_merits(made, MERITS[name])
    assert found.covariance.reshape(6, 6) == pytest.approx(left_out_one_by_one(made, MERITS[name]), abs=1e-12)
    assert found.n == len(np.unique(made.clusters[MERITS[name].used(made.truth)]))


def test_values_are_those_of_scikit_learn():
    made = graded(1)
    found = {name: reader_merits(made, merit).value[0, 1] for name, merit in MERITS.items()}
    grade, truth = made.score[0, 1], made.truth
    assert found["area"] == pytest.approx(roc_auc_score(truth >= 2, grade))
    assert found["sensitivity"] == pytest.approx((grade >= 2)[truth >= 2].mean())
    assert found["specificity"] == pytest.approx((grade < 2)[truth < 2].mean())
    assert found["accuracy"] == pytest.approx((grade == truth).mean())
    assert found["binary"] == pytest.approx(((grade >= 1) == (truth >= 1)).mean())
    assert found["kappa"] == pytest.approx(cohen_kappa_score(truth, grade, weights="quadratic", labels=range(4)))
    assert found["unweighted"] == pytest.approx(cohen_kappa_score(truth, grade, labels=range(4)))
    assert found["custom"] == pytest.approx(np.var(grade - truth))


def test_delong_is_that_of_the_curves_together():
    made = graded(2)
    areas, covariance = delong(made.score.reshape(6, -1), made.truth >= 2)
    found = reader_merits(made, area(cut=2), method="delong")
    assert found.value.ravel() == pytest.approx(areas)
    assert found.covariance.reshape(6, 6) == pytest.approx(covariance)


def test_delong_with_patients_is_obuchowskis():
    made = graded(3, cases=40, per_patient=3)
    found = reader_merits(made, area(cut=2), method="delong")
    expected = auc_interval_clustered(made.score[1, 2], made.truth >= 2, made.clusters)
    half = 1.959963985 * found.covariance[1, 2, 1, 2] ** 0.5
    assert found.value[1, 2] - half == pytest.approx(expected.low)


def test_delong_of_a_proportion_is_its_sample_covariance_and_its_jackknife():
    made = graded(4)
    right = (made.score == made.truth).reshape(6, -1)
    expected = np.cov(right) / right.shape[1]
    for method in ("delong", "unbiased", "jackknife"):
        found = reader_merits(made, exact_accuracy(), method=method).covariance.reshape(6, 6)
        assert found == pytest.approx(expected, abs=1e-14)


def test_unbiased_covariance_is_that_of_all_pairs_without_a_shared_case():
    made = graded(5, cases=12, readers=1)
    up = made.truth >= 2
    kernels = [(s[up][:, None] > s[~up]) + (s[up][:, None] == s[~up]) / 2 for s in made.score[:, 0]]
    apart = [kernels[0][i, j] * kernels[1][k, m] for i in range(up.sum()) for k in range(up.sum()) if i != k
             for j in range((~up).sum()) for m in range((~up).sum()) if j != m]
    found = reader_merits(made, area(cut=2), method="unbiased")
    assert found.covariance[0, 0, 1, 0] == pytest.approx(kernels[0].mean() * kernels[1].mean() - np.mean(apart))


def test_bootstrap_is_near_the_jackknife_and_repeats_with_its_seed():
    made = graded(6, cases=120)
    merit = area(cut=2)
    found, again, other = (reader_merits(made, merit, method="bootstrap", resamples=4000, seed=s) for s in (1, 1, 2))
    assert np.array_equal(found.covariance, again.covariance)
    assert not np.array_equal(found.covariance, other.covariance)
    exact = reader_merits(made, merit).covariance.reshape(6, 6)
    assert np.diag(found.covariance.reshape(6, 6)) == pytest.approx(np.diag(exact), rel=0.12)
    assert found.method == "bootstrap, 4000 resamples, seed 1"


def test_patients_make_the_variance_larger_where_their_cases_agree():
    alone = graded(7, cases=40)
    thrice = readings_from_arrays(np.tile(alone.score, 3), np.tile(alone.truth, 3),
                                  clusters=np.tile(np.arange(40), 3))
    found = reader_merits(thrice, exact_accuracy()).covariance
    assert found == pytest.approx(reader_merits(alone, exact_accuracy()).covariance)


@unhurried
@given(st.integers(0, 10_000))
def test_area_rests_on_the_order_of_scores_alone(seed):
    made = graded(seed)
    stretched = readings_from_arrays(np.exp(made.score), made.truth)
    assert reader_merits(stretched, area()).covariance == pytest.approx(reader_merits(made, area()).covariance)


@pytest.mark.parametrize("method", METHODS)
def test_figure_without_a_second_case_of_a_class_has_no_covariance(method):
    truth = np.array([1, 0, 0, 0])
    made = readings_from_arrays(np.arange(8.0).reshape(2, 1, 4), truth)
    found = reader_merits(made, area(), method=method, resamples=50)
    assert "in fewer than two cases" in found.undefined
    assert found.value[0, 0] == 0


def test_custom_figure_says_what_it_is_and_where_it_is_undefined():
    made = graded(8)
    found = reader_merits(made, custom("ratio", lambda score, truth: np.nan))
    assert found.undefined == "ratio is not defined for reader 1 under 1 on these cases"


def gaps():
    made = graded(9)
    score = made.score.copy()
    score[0, 1, 3] = np.nan
    return readings_from_arrays(score, made.truth)


def armless():
    made = graded(9)
    score = made.score.copy()
    score[0, 1] = np.nan
    return readings_from_arrays(score, made.truth)


@pytest.mark.parametrize(("readings", "merit", "method", "message"), [
    (graded(1), area(), "guess", 'method "guess"'),
    (graded(1), kappa(categories=range(4)), "delong", "has no delong covariance: use jackknife or bootstrap"),
    (graded(1, per_patient=2), area(), "unbiased", "takes the cases for independent"),
    (graded(1), kappa(categories=range(3)), "jackknife", "Grade 3: only"),
    (gaps(), area(), "jackknife", "read different cases"),
    (armless(), area(), "jackknife", "Reader 2 read nothing under 1"),
])
def test_what_a_covariance_cannot_take_is_refused(readings, merit, method, message):
    with pytest.raises(ValueError, match=message):
        reader_merits(readings, merit, method=method)
