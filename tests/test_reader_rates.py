import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lss_core.statistics.accuracy import accuracy, balanced_accuracy, class_rates, cut_rates, cut_values, macro_f1
from lss_core.statistics.agreement import confusion_by_cluster, gwet_ac, weighted_kappa
from lss_core.statistics.bootstrap import bootstrap_figures
from lss_core.statistics.estimate import bootstrap_sums, wilson_interval
from lss_core.statistics.influence import clusters_of, share_in_clusters
from lss_core.statistics.reader_rates import rates_of_readers
from tests.graded import graded, width


def matrices_of(cases, readers, *, seed=0, right=0.6, per_patient=2):
    """Counts [patient, reader, reference, rating] and the truth."""
    grades, patient = graded(cases, readers + 1, seed=seed, right=right, per_patient=per_patient)
    truth = grades[:, 0]
    by_reader = [confusion_by_cluster(truth, each, patient, categories=range(4)) for each in grades.T[1:]]
    return np.stack(by_reader, axis=1)


def test_every_rate_is_as_bootstrapped_alone():
    matrices = matrices_of(60, 3)
    rates = rates_of_readers(matrices, resamples=300)
    for reader, ours in enumerate(rates):
        flat = matrices[:, reader].reshape(len(matrices), 16)
        for estimate, figure in (
            (ours.accuracy, accuracy), (ours.balanced_accuracy, balanced_accuracy), (ours.macro_f1, macro_f1),
            (ours.kappa, lambda m: weighted_kappa(m, power=0)), (ours.quadratic_kappa, weighted_kappa),
            (ours.linear_kappa, lambda m: weighted_kappa(m, power=1)), (ours.gwet_ac2, lambda m: gwet_ac(m, power=2)),
            (ours.classes[3].sensitivity, lambda m: class_rates(m, 3)[0]),
            (ours.classes[0].negative_value, lambda m: class_rates(m, 0)[3]),
            (ours.cuts[1].specificity, lambda m: cut_rates(m, 2)[1]),
            (ours.cuts[2].positive_value, lambda m: cut_values(m, 3)[0]),
        ):
            alone = bootstrap_sums(flat, lambda total, f=figure: f(total.reshape(-1, 4, 4)), resamples=300)
            assert (estimate.value, estimate.low, estimate.high) == pytest.approx((alone.value, alone.low, alone.high))
            assert (estimate.n, estimate.method) == (alone.n, alone.method)
        assert np.array(ours.confusion).tolist() == matrices[:, reader].sum(axis=0).tolist()
        assert ours.off_by_one.value + ours.off_by_two.value == pytest.approx(1 - ours.accuracy.value)
        assert (ours.cuts[0].positives, ours.cuts[0].negatives) == (
            matrices[:, reader, 1:].sum(), matrices[:, reader, 0].sum())


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 50), readers=st.permutations(range(3)), patients=st.permutations(range(10)))
def test_the_order_of_readers_and_patients_changes_no_rate(seed, readers, patients):
    matrices = matrices_of(40, 3, seed=seed, per_patient=4)
    one = rates_of_readers(matrices, resamples=20)
    other = rates_of_readers(matrices[patients][:, readers], resamples=20)
    for place, reader in enumerate(readers):
        for name in ("accuracy", "macro_f1", "quadratic_kappa", "off_by_one", "gwet_ac2"):
            again, first = getattr(other[place], name).value, getattr(one[reader], name).value
            assert again == pytest.approx(first, nan_ok=True)


def test_blocks_of_readers_give_what_all_at_once_gives(monkeypatch):
    matrices = matrices_of(40, 5)
    whole = rates_of_readers(matrices, resamples=100)
    monkeypatch.setattr("lss_core.statistics.bootstrap.MOST_TOTALS", 3000)
    for ours, theirs in zip(rates_of_readers(matrices, resamples=100), whole, strict=True):
        for one, other in ((ours.accuracy, theirs.accuracy), (ours.quadratic_kappa, theirs.quadratic_kappa),
                           (ours.cuts[1].sensitivity, theirs.cuts[1].sensitivity)):
            assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


def test_a_perfect_reader_has_bounds_from_the_number_of_patients():
    grades = np.arange(40) % 4
    patient = np.arange(40) // 2
    matrix = confusion_by_cluster(grades, grades, patient, categories=range(4))[:, None]
    perfect = rates_of_readers(matrix, resamples=50)[0]
    wilson = wilson_interval(20, 20)
    assert (perfect.accuracy.value, perfect.accuracy.low) == (1.0, wilson.low) and perfect.accuracy.n == 20
    assert perfect.off_by_one.value == 0.0 and perfect.off_by_one.high == pytest.approx(1 - wilson.low)
    severe = perfect.classes[3]
    assert severe.sensitivity.low == wilson_interval(10, 10).low       # ten patients have a severe case
    assert "every resample gives the same" in perfect.kappa.undefined and perfect.kappa.value == 1.0


def test_the_bounds_of_predictive_values_count_the_patients_who_were_called_so():
    truth = np.arange(40) % 4
    calls = np.where((truth == 3) & (np.arange(40) > 28), 0, truth)            # three of ten severe cases are missed
    matrix = confusion_by_cluster(truth, calls, np.arange(40), categories=range(4))[:, None]
    severe = rates_of_readers(matrix, resamples=100)[0].classes[3]
    assert severe.positive_value.value == 1.0 and severe.positive_value.n == 7
    assert severe.positive_value.low == wilson_interval(7, 7).low and severe.sensitivity.value == 0.7


def test_a_constant_reader_has_no_kappa_beyond_chance_and_no_positive_value():
    truth, patient = np.arange(40) % 4, np.arange(40)
    matrix = confusion_by_cluster(truth, np.zeros(40, int), patient, categories=range(4))[:, None]
    constant = rates_of_readers(matrix, resamples=200)[0]
    assert constant.accuracy.value == 0.25 and constant.balanced_accuracy.value == 0.25
    assert constant.kappa.value == pytest.approx(0, abs=1e-12)
    assert constant.cuts[0].sensitivity.value == 0.0 and constant.cuts[0].specificity.value == 1.0
    assert str(constant.cuts[0].positive_value).startswith("undefined: not defined on these cases")


def test_a_grade_without_a_case_and_no_case_at_all_say_why():
    truth, patient = np.arange(30) % 3, np.arange(30)
    matrix = confusion_by_cluster(truth, truth, patient, categories=range(4))[:, None]
    rates = rates_of_readers(matrix, resamples=50)[0]
    for estimate in (rates.balanced_accuracy, rates.macro_f1, rates.classes[3].sensitivity):
        assert np.isnan(estimate.value) and estimate.undefined
    assert rates.classes[3].positives == 0
    none = rates_of_readers(np.zeros((0, 1, 4, 4)))[0]
    assert str(none.accuracy) == str(none.kappa) == str(none.cuts[0].sensitivity) == "undefined: no case"


def test_one_patient_has_figures_without_intervals():
    rates = rates_of_readers(matrices_of(12, 2, per_patient=12), resamples=20)
    for each in rates:
        assert "a single cluster" in str(each.accuracy) or each.accuracy.value in (0.0, 1.0)


def test_bootstrap_of_many_figures_is_that_of_one():
    sums = np.random.default_rng(0).integers(0, 5, (30, 4, 2)).astype(float)
    many = bootstrap_figures(sums, lambda total: (total[..., :1] / total.sum(axis=-1, keepdims=True)), resamples=500)
    for place, (one,) in enumerate(many):
        assert one == bootstrap_sums(sums[:, place], lambda total: total[:, 0] / total.sum(axis=1), resamples=500)


def test_shares_by_cluster_agree_with_the_bootstrap_within_five_percent_and_with_wilson_at_the_edges():
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(400), rng.integers(1, 5, 400))
    hits = rng.random(len(cluster)) < rng.beta(2, 1, 400)[cluster]
    share = share_in_clusters(hits, cluster)
    sums = np.stack([np.bincount(cluster, weights=hits), np.bincount(cluster)], axis=1)
    resampled = bootstrap_sums(sums, lambda total: total[:, 0] / total[:, 1], resamples=8000)
    assert share.value == pytest.approx(resampled.value) and share.n == 400
    assert width(share) / width(resampled) == pytest.approx(1, abs=0.05)
    all_hit = share_in_clusters(np.ones(6, bool), np.repeat(np.arange(3), 2))
    assert (all_hit.low, all_hit.n) == (wilson_interval(3, 3).low, 3)
    assert str(share_in_clusters(np.array([], bool), np.array([], int))) == "undefined: no case"
    assert clusters_of(None, 3).tolist() == [0, 1, 2] and clusters_of(["b", "a", "b"], 3).tolist() == [1, 0, 1]


def test_bad_input_is_an_error():
    with pytest.raises(ValueError, match=r"\[cluster, reader, K, K\] is needed"):
        rates_of_readers(np.ones((3, 4, 4)))
    with pytest.raises(ValueError, match="square"):
        rates_of_readers(np.ones((3, 1, 4, 3)))
    with pytest.raises(ValueError, match="negative or missing"):
        rates_of_readers(-np.ones((3, 1, 4, 4)))
    with pytest.raises(ValueError, match="one cluster per case"):
        clusters_of(["a"], 2)
