import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm, t
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from lss_core.statistics.accuracy import (
    ChiSquare,
    accuracy,
    agresti_coull,
    auc,
    auc_interval,
    auc_interval_clustered,
    balanced_accuracy,
    bowker,
    class_rates,
    clustered_mcnemar,
    cochran_q,
    compare_auc,
    compare_auc_unpaired,
    compare_paired_accuracy,
    cut_rates,
    cut_values,
    delong,
    holm,
    macro_f1,
    mcnemar,
    off_by,
    stuart_maxwell,
)
from lss_core.statistics.agreement import confusion_matrix
from lss_core.statistics.estimate import bootstrap_by_cluster, bootstrap_sums, wilson_interval

# Glands free of disease that PET and SPECT called so, by patient: only PET right, only SPECT right (Obuchowski 1998).
THYROIDS = (np.array([0, 0, 0, 0, 0, 0, 0, 0, 1] + [0] * 12),
            np.array([2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0]))
# Patients who alone, and psychiatrists who alone, found an item relevant, by psychiatrist (Eliasziw and Donner 1991).
PSYCHIATRISTS = (
    np.array([0, 1, 1, 1, 0, 3, 3, 3, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0]),
    np.array([4, 2, 3, 2, 1, 3, 0, 2, 2, 4, 2, 4, 3, 2, 1, 3, 1, 2, 0, 0, 0, 2, 1, 2, 2, 0, 0, 1, 1]),
)
# Mitotic figures on four slides, called by one reader at the microscope and on a scanner (DIDSR/mitoticFigureCounts,
# dfClassify20180627): for each slide and truth, candidates called by (neither, scanner, microscope, both).
SLIDES = {True: [(0, 0, 1, 3), (16, 6, 3, 10), (5, 1, 2, 11), (6, 0, 4, 6)],
          False: [(10, 0, 0, 0), (25, 2, 0, 0), (18, 2, 0, 0), (21, 2, 1, 0)]}

# Nine cases by four raters, right or wrong (R CVST, in statsmodels).
NINE = [[1, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [1, 1, 1, 1],
        [0, 1, 0, 0]]

unhurried = settings(deadline=None)          # the machine may be busy
counts = arrays(int, (4, 4), elements=st.integers(0, 30))
rated = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)
scored = st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 4)), min_size=6, max_size=40)


def mitoses():
    """Calls at the microscope and on the scanner, truth and slide, one entry per candidate."""
    scanner, microscope, truth, slide = zip(*(
        (call % 2, call // 2, positive, number)
        for positive, slides in SLIDES.items() for number, calls in enumerate(slides)
        for call, times in enumerate(calls) for _ in range(times)
    ), strict=True)
    return np.array(microscope), np.array(scanner), np.array(truth), np.array(slide)


def regions_of_patients(patients, *, seed=0, shared=1.0):
    """Two scores of regions that share part of their noise within a patient: a, b, positive, patient."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rng.integers(1, 7, patients))
    positive = rng.random(len(patient)) < 0.4
    common = shared * rng.normal(size=patients)[patient]
    a, b = (positive * gain + common + rng.normal(size=len(patient)) for gain in (1.5, 1.3))
    return a, b, positive, patient


@settings(max_examples=30, deadline=None)
@given(pairs=rated)
def test_rates_equal_those_of_scikit_learn_over_the_declared_grades(pairs):
    reference, rating = zip(*pairs, strict=True)
    matrix = confusion_matrix(reference, rating, categories=range(4))
    assert accuracy(matrix) == pytest.approx(accuracy_score(reference, rating))
    if set(reference) == set(range(4)):
        assert balanced_accuracy(matrix) == pytest.approx(balanced_accuracy_score(reference, rating))
        assert macro_f1(matrix) == pytest.approx(f1_score(reference, rating, average="macro", labels=range(4)))
    for k in range(4):
        truth, call = np.equal(reference, k), np.equal(rating, k)
        theirs = (
            recall_score(truth, call, zero_division=np.nan), recall_score(~truth, ~call, zero_division=np.nan),
            precision_score(truth, call, zero_division=np.nan), precision_score(~truth, ~call, zero_division=np.nan),
        )
        assert class_rates(matrix, k) == pytest.approx(theirs, nan_ok=True)
    for cut in (1, 2, 3):
        truth, call = np.greater_equal(reference, cut), np.greater_equal(rating, cut)
        theirs = recall_score(truth, call, zero_division=np.nan), recall_score(~truth, ~call, zero_division=np.nan)
        assert cut_rates(matrix, cut) == pytest.approx(theirs, nan_ok=True)
        theirs = (precision_score(truth, call, zero_division=np.nan),
                  precision_score(~truth, ~call, zero_division=np.nan))
        assert cut_values(matrix, cut) == pytest.approx(theirs, nan_ok=True)


def test_known_rates():
    matrix = np.array([[8, 2, 0, 0], [1, 6, 3, 0], [0, 2, 5, 3], [0, 1, 0, 9]])
    assert accuracy(matrix) == 28 / 40 and balanced_accuracy(matrix) == pytest.approx(0.7)
    assert off_by(matrix, 0) == 1 and off_by(matrix, 1) == 12 / 40 and off_by(matrix, 2) == 1 / 40
    assert class_rates(matrix, 3) == pytest.approx((9 / 10, 27 / 30, 9 / 12, 27 / 28))
    assert cut_rates(matrix, 2) == pytest.approx((17 / 20, 17 / 20))
    assert cut_values(matrix, 2) == pytest.approx((17 / 20, 17 / 20))
    assert cut_values(matrix, 3) == class_rates(matrix, 3)[2:]


@unhurried
@given(grades=st.lists(st.integers(0, 3), min_size=1, max_size=20))
def test_a_perfect_rater_is_always_right(grades):
    matrix = confusion_matrix(grades + [0, 1, 2, 3], grades + [0, 1, 2, 3], categories=range(4))
    assert accuracy(matrix) == balanced_accuracy(matrix) == macro_f1(matrix) == 1.0 and off_by(matrix, 1) == 0.0
    assert class_rates(matrix, 2) == (1.0, 1.0, 1.0, 1.0) and cut_rates(matrix, 2) == (1.0, 1.0)


@unhurried
@given(matrix=counts, order=st.permutations(range(4)))
def test_rates_do_not_depend_on_the_names_of_categories(matrix, order):
    other = matrix[np.ix_(order, order)]
    for rate in (accuracy, balanced_accuracy, macro_f1):
        assert rate(other) == pytest.approx(rate(matrix), nan_ok=True)
    assert class_rates(other, order.index(2)) == pytest.approx(class_rates(matrix, 2), nan_ok=True)
    assert off_by(matrix[::-1, ::-1], 2) == pytest.approx(off_by(matrix, 2), nan_ok=True)


@unhurried
@given(matrices=arrays(int, (5, 4, 4), elements=st.integers(0, 2)))
def test_many_matrices_at_once_equal_one_by_one(matrices):
    matrices[0] = 0
    for rate in (accuracy, balanced_accuracy, macro_f1, lambda m: off_by(m, 2)):
        assert rate(matrices) == pytest.approx([rate(m) for m in matrices], nan_ok=True)
    together = np.stack(class_rates(matrices, 3) + cut_rates(matrices, 2), axis=1)
    assert together == pytest.approx(
        np.array([class_rates(m, 3) + cut_rates(m, 2) for m in matrices]), nan_ok=True)


def test_rates_without_a_case_are_undefined():
    empty, no_severe = np.zeros((4, 4)), np.diag([5, 5, 5, 0])
    assert np.isnan([accuracy(empty), balanced_accuracy(empty), macro_f1(empty), off_by(empty, 1)]).all()
    assert np.isnan(balanced_accuracy(no_severe)) and np.isnan(macro_f1(no_severe)) and accuracy(no_severe) == 1.0
    sensitivity, specificity, positive_value, negative_value = class_rates(no_severe, 3)
    assert np.isnan([sensitivity, positive_value]).all() and specificity == negative_value == 1.0


def test_bootstrap_of_independent_cases_agrees_with_the_binomial():
    rng = np.random.default_rng(0)
    reference = rng.integers(0, 4, 500)
    rating = np.where(rng.random(500) < 0.75, reference, (reference + 1) % 4)
    cells = np.eye(16)[4 * reference + rating]                              # one confusion matrix per case
    right = int((reference == rating).sum())
    estimate = bootstrap_sums(cells, lambda total: accuracy(total.reshape(-1, 4, 4)))
    wilson = wilson_interval(right, 500)
    assert estimate.value == wilson.value
    assert (estimate.high - estimate.low) / (wilson.high - wilson.low) == pytest.approx(1, abs=0.07)
    severe = bootstrap_sums(cells, lambda total: cut_rates(total.reshape(-1, 4, 4), 2)[0])
    wilson = wilson_interval(round(severe.value * (reference >= 2).sum()), int((reference >= 2).sum()))
    assert (severe.high - severe.low) / (wilson.high - wilson.low) == pytest.approx(1, abs=0.1)


def test_published_variances_of_clustered_areas():
    """As the R functions of Obuchowski 1997 print them (DIDSR/mitoticFigureCounts, aucMRMCcluster, ScannerA)."""
    microscope, scanner, truth, slide = mitoses()
    quantile = norm.ppf(0.975)
    first, second = (auc_interval_clustered(each, truth, slide) for each in (microscope, scanner))
    assert first.value == pytest.approx(0.76409743, abs=1e-8) and second.value == pytest.approx(0.71296296, abs=1e-8)
    assert ((first.high - first.value) / quantile) ** 2 == pytest.approx(2.71256911e-3, abs=1e-11)
    assert ((second.high - second.value) / quantile) ** 2 == pytest.approx(8.53454843e-4, abs=1e-11)
    compared = compare_auc(microscope, scanner, truth, clusters=slide)
    variance = 2.71256911e-3 + 8.53454843e-4 - 2 * 9.81239946e-4
    assert compared.difference.value == pytest.approx(0.76409743 - 0.71296296, abs=1e-8)
    half = compared.difference.high - compared.difference.value
    assert (half / quantile) ** 2 == pytest.approx(variance, abs=1e-11)
    assert compared.p_value == pytest.approx(2 * norm.sf((0.76409743 - 0.71296296) / variance**0.5), abs=1e-6)
    assert compared.p_unclustered == compare_auc(microscope, scanner, truth).p_value


@settings(max_examples=50, deadline=None)
@given(cases=scored)
def test_an_area_is_the_share_of_pairs_in_order(cases):
    scores, positive, _ = (np.array(each) for each in zip(*cases, strict=True))
    if positive.all() or not positive.any():
        assert np.isnan(auc(scores, positive))
        return
    above, below = scores[positive][:, None], scores[~positive]
    assert auc(scores, positive) == pytest.approx(((above > below) + 0.5 * (above == below)).mean())
    assert auc(scores, positive) == pytest.approx(roc_auc_score(positive, scores))
    assert auc(-scores, positive) == pytest.approx(1 - auc(scores, positive))
    assert auc(np.exp(scores), positive) == pytest.approx(auc(scores, positive))
    assert auc(scores, ~positive) == pytest.approx(1 - auc(scores, positive))


@settings(max_examples=50, deadline=None)
@given(cases=scored)
def test_the_clustered_variance_is_that_of_the_loop_over_its_definition(cases):
    scores, positive, cluster = (np.array(each) for each in zip(*cases, strict=True))
    estimate = auc_interval_clustered(scores, positive, cluster, confidence=0.05)
    assume(not np.isnan(estimate.low))
    area, positives, negatives, clusters = auc(scores, positive), positive.sum(), (~positive).sum(), set(cluster)
    s10 = s01 = s11 = 0.0
    for k in clusters:
        x = sum((scores[i] > scores[~positive]).mean() + (scores[i] == scores[~positive]).mean() / 2 - area
                for i in np.flatnonzero(positive & (cluster == k)))
        y = sum((scores[positive] > scores[j]).mean() + (scores[positive] == scores[j]).mean() / 2 - area
                for j in np.flatnonzero(~positive & (cluster == k)))
        s10, s01, s11 = s10 + x**2, s01 + y**2, s11 + x * y
    i10, i01, i = len(set(cluster[positive])), len(set(cluster[~positive])), len(clusters)
    variance = (s10 * i10 / (i10 - 1) / positives**2 + s01 * i01 / (i01 - 1) / negatives**2
                + 2 * s11 * i / (i - 1) / (positives * negatives))
    half = norm.ppf(0.525) * variance**0.5
    expected = max(0.0, area - half), min(1.0, area + half)
    assert (estimate.low, estimate.high) == pytest.approx(expected, abs=1e-7)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_one_case_per_cluster_is_delong_and_copies_of_a_case_add_nothing(seed):
    a, b, positive, _ = regions_of_patients(8, seed=seed)
    assume(min(positive.sum(), (~positive).sum()) > 1)
    singly = np.arange(len(a))
    plain, clustered = auc_interval(a, positive), auc_interval_clustered(a, positive, singly)
    assert (clustered.low, clustered.high) == pytest.approx((plain.low, plain.high), nan_ok=True)
    twice = [np.repeat(each, 2) for each in (a, b, positive, singly)]
    copied = auc_interval_clustered(twice[0], twice[2], twice[3])
    assert (copied.low, copied.high) == pytest.approx((plain.low, plain.high), nan_ok=True)
    once = compare_auc(a, b, positive)
    again = compare_auc(twice[0], twice[1], twice[2], clusters=twice[3])
    assert again.p_value == pytest.approx(once.p_value)


def test_the_clustered_interval_agrees_with_the_bootstrap_over_patients():
    a, _, positive, patient = regions_of_patients(150)
    analytic = auc_interval_clustered(a, positive, patient)
    resampled = bootstrap_by_cluster(lambda i: auc(a[i], positive[i]), patient, resamples=1000)
    assert analytic.n == resampled.n == 150 and analytic.value == resampled.value
    assert (resampled.high - resampled.low) / (analytic.high - analytic.low) == pytest.approx(1, abs=0.1)


def test_clustered_intervals_hold_the_truth_where_plain_ones_do_not():
    """Patients of one class each, whose regions share most of their noise; the true area is Phi(1 / sqrt 2)."""
    truth, held, held_plain = norm.cdf(1 / 2**0.5), 0, 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        patient = np.repeat(np.arange(60), 6)
        positive = patient % 2 == 0
        scores = positive + 0.95 * rng.normal(size=60)[patient] + (1 - 0.95**2) ** 0.5 * rng.normal(size=360)
        clustered, plain = auc_interval_clustered(scores, positive, patient), auc_interval(scores, positive)
        held += clustered.low <= truth <= clustered.high
        held_plain += plain.low <= truth <= plain.high
    assert 0.90 < held / 200 < 0.99 and held_plain / 200 < 0.75


def test_equal_scores_are_not_different():
    a, _, positive, patient = regions_of_patients(20)
    for clusters in (None, patient):
        same = compare_auc(a, a, positive, clusters=clusters)
        assert same.p_value == 1.0 and same.difference.value == 0.0
        assert str(same.difference) == "0.000 (no interval: its estimated variance is zero)"
        stretched = compare_auc(a, 3 * a + 1, positive, clusters=clusters)          # the same order of cases
        assert stretched.p_value == 1.0


def test_a_comparison_the_other_way_round_has_the_other_sign():
    a, b, positive, patient = regions_of_patients(40)
    for clusters in (None, patient):
        there, back = compare_auc(a, b, positive, clusters=clusters), compare_auc(b, a, positive, clusters=clusters)
        assert there.p_value == pytest.approx(back.p_value) and 0 < there.p_value < 1
        assert there.difference.low == pytest.approx(-back.difference.high)


def test_areas_without_both_classes_are_undefined_and_those_without_variance_have_no_interval():
    scores = np.array([0.1, 0.4, 0.6, 0.9])
    for positive in (np.ones(4, bool), np.zeros(4, bool)):
        assert str(auc_interval(scores, positive)) == "undefined: one of the two classes has no case"
        assert np.isnan(compare_auc(scores, scores[::-1], positive).p_value)
        assert np.isnan(delong(scores, positive)[0]).all() and np.isnan(delong(scores, positive)[1]).all()
    apart = auc_interval(scores, scores > 0.5)
    assert apart.value == 1.0 and "variance is zero" in str(apart)
    single = auc_interval(scores, scores > 0.8)
    assert single.value == 1.0 and "fewer than two" in str(single)
    one_patient = auc_interval_clustered(scores, np.array([True, False, True, False]), ["A", "A", "A", "B"])
    assert "fewer than two cases or clusters" in str(one_patient)
    clearly = compare_auc(scores, np.zeros(4), scores > 0.5)
    assert clearly.difference.value == 0.5 and np.isnan(clearly.p_value)


def test_areas_of_different_cases_are_compared_by_welch():
    a, b, positive, patient = regions_of_patients(60)
    half = patient < 25
    ours = compare_auc_unpaired(a[half], positive[half], b[~half], positive[~half])
    first, second = (delong(each, p) for each, p in ((a[half], positive[half]), (b[~half], positive[~half])))
    variances, sizes = (first[1][0, 0], second[1][0, 0]), (half.sum(), (~half).sum())
    df = sum(variances) ** 2 / sum(v**2 / (n - 1) for v, n in zip(variances, sizes, strict=True))
    assert ours.difference.value == pytest.approx(first[0][0] - second[0][0])
    assert ours.p_value == pytest.approx(2 * t.sf(abs(ours.difference.value) / sum(variances) ** 0.5, df))
    assert ours.difference.high - ours.difference.value == pytest.approx(t.ppf(0.975, df) * sum(variances) ** 0.5)
    assert compare_auc_unpaired(b[~half], positive[~half], a[half], positive[half]).p_value == pytest.approx(
        ours.p_value)
    clustered = compare_auc_unpaired(
        a[half], positive[half], b[~half], positive[~half], clusters_a=patient[half], clusters_b=patient[~half])
    assert "Obuchowski" in clustered.method and clustered.difference.n == 60
    singly = compare_auc_unpaired(
        a[half], positive[half], b[~half], positive[~half], clusters_a=np.arange(half.sum()),
        clusters_b=np.arange((~half).sum()))
    assert singly.p_value == pytest.approx(ours.p_value) and clustered.p_value != pytest.approx(ours.p_value)


def test_unpaired_areas_without_variance_or_class_say_so():
    apart, positive = np.array([0.1, 0.4, 0.6, 0.9]), np.array([False, False, True, True])
    same = compare_auc_unpaired(apart, positive, apart, positive)
    assert same.p_value == 1.0 and same.undefined == "" and "variance is zero" in str(same.difference)
    single = compare_auc_unpaired(apart, np.ones(4, bool), apart, positive)
    assert np.isnan(single.p_value) and single.undefined == "one of the two classes has no case"


def test_agresti_coull_of_published_proportions():
    for (hits, n), (low, high) in {(18, 20): (0.6867561125596, 0.984343760998),        # R binom.confint, in statsmodels
                                   (4, 200): (0.005991954548, 0.052099558774)}.items():
        estimate = agresti_coull(hits, n)
        assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=1e-9)
    assert str(agresti_coull(0, 0)) == "undefined: no case" and agresti_coull(0, 9).low == 0.0
    with pytest.raises(ValueError, match="5 successes of 4"):
        agresti_coull(5, 4)


def test_a_test_without_a_p_value_gives_the_reason():
    assert str(clustered_mcnemar([1], [2])) == "undefined: fewer than two clusters"
    with pytest.raises(ValueError, match="needs the reason"):
        ChiSquare(np.nan, 1)
    right = np.array([True, False, True])
    assert compare_paired_accuracy(right, ~right, ["A"] * 3).undefined == "a single cluster"
    assert compare_paired_accuracy(right, ~right, ["A", "B", "C"]).undefined == ""


def test_bad_scores_are_an_error():
    with pytest.raises(ValueError, match="missing"):
        auc(np.array([0.1, np.nan]), np.array([True, False]))
    with pytest.raises(ValueError, match="one class per case"):
        auc(np.array([0.1, 0.2, 0.3]), np.array([True, False]))
    with pytest.raises(ValueError, match="one cluster per case"):
        auc_interval_clustered(np.array([0.1, 0.2]), np.array([True, False]), ["A"])


def test_published_mcnemar_tests():
    assert mcnemar(15, 19) == pytest.approx(0.60759136127308, abs=1e-10)        # R exact2x2, in statsmodels
    assert mcnemar(1, 7) == pytest.approx(0.0703, abs=5e-5)                     # Fagerland et al. 2013, airways before
    assert mcnemar(1, 7, method="midp") == pytest.approx(0.0391, abs=5e-5)      # and after stem cell transplantation
    three = np.array([[20, 10, 5], [3, 30, 15], [0, 5, 40]])                    # R coin, in statsmodels
    assert stuart_maxwell(three).statistic == pytest.approx(13.7647058823529, abs=1e-10)
    assert bowker(three).p_value == pytest.approx(0.00323670650323545, abs=1e-10)
    assert mcnemar(15, 19, method="chi2") == pytest.approx(0.492716677227088, abs=1e-10)
    assert mcnemar(15, 19, method="corrected") == pytest.approx(0.606905427217951, abs=1e-10)


def test_published_cochrans_q():
    result = cochran_q(NINE)                                                    # R CVST, in statsmodels
    assert result.statistic == pytest.approx(4.2) and result.df == 3 and not result.undefined


def test_cochrans_q_of_two_raters_is_mcnemars_chi_square():
    rng = np.random.default_rng(0)
    hits = (rng.random((80, 2)) < [0.8, 0.6]).astype(int)
    b, c = int(((hits[:, 0] == 1) & (hits[:, 1] == 0)).sum()), int(((hits[:, 0] == 0) & (hits[:, 1] == 1)).sum())
    assert cochran_q(hits).statistic == pytest.approx((b - c) ** 2 / (b + c))
    assert cochran_q(hits).p_value == pytest.approx(mcnemar(b, c, method="chi2"))


@unhurried
@given(hits=arrays(int, (9, 4), elements=st.integers(0, 1)), raters=st.permutations(range(4)),
       cases=st.permutations(range(9)))
def test_cochrans_q_does_not_depend_on_order_labels_or_unanimous_cases(hits, raters, cases):
    result = cochran_q(hits)
    agreed = np.vstack([hits, np.ones((3, 4), int), np.zeros((2, 4), int)])
    for other in (hits[:, raters], hits[cases], 1 - hits, agreed):
        assert cochran_q(other).statistic == pytest.approx(result.statistic) and cochran_q(other).df == result.df


def test_cochrans_q_without_a_discordant_case_finds_no_difference_and_refuses_what_is_not_right_or_wrong():
    assert cochran_q([[1, 1, 1], [0, 0, 0]]).p_value == 1.0
    with pytest.raises(ValueError, match="Case 2, rater 3: nan is not 0 or 1"):
        cochran_q([[1, 1, 1], [0, 0, np.nan]])
    with pytest.raises(ValueError, match="Case 1, rater 1: 2 is not"):
        cochran_q([[2, 1]])
    with pytest.raises(ValueError, match="at least two raters"):
        cochran_q([[1], [0]])


def test_published_clustered_mcnemar_statistics():
    """Both as reported by Durkalski et al. 2003 (dgopstein/clust.bin.pair, tests)."""
    assert clustered_mcnemar(*THYROIDS).statistic == pytest.approx(2.86, abs=5e-3)
    assert clustered_mcnemar(*THYROIDS).p_value == pytest.approx(0.09097, abs=5e-6)      # as clust.bin.pair prints it
    assert clustered_mcnemar(*PSYCHIATRISTS).statistic == pytest.approx(7.19, abs=5e-3)


@unhurried
@given(b=st.integers(0, 60), c=st.integers(0, 60))
def test_mcnemar_is_symmetric_and_the_mid_p_is_the_smaller(b, c):
    assert mcnemar(b, c) == pytest.approx(mcnemar(c, b)) and 0 < mcnemar(b, c) <= 1
    assert mcnemar(b, c, method="midp") <= mcnemar(b, c)


def test_without_discordant_pairs_there_is_no_difference():
    assert mcnemar(0, 0) == mcnemar(0, 0, method="midp") == 1.0
    assert stuart_maxwell(np.diag([5, 4, 3, 0])).p_value == bowker(np.diag([5, 4, 3, 0])).p_value == 1.0
    assert clustered_mcnemar(np.zeros(9), np.zeros(9)).p_value == 1.0
    assert clustered_mcnemar(np.ones(9), np.ones(9)).p_value == 1.0


@unhurried
@given(matrix=counts)
def test_square_tests_do_not_depend_on_direction_order_or_an_unused_category(matrix):
    used = np.pad(matrix, ((0, 1), (0, 1)))
    for test in (stuart_maxwell, bowker):
        statistic, df = test(matrix).statistic, test(matrix).df
        for other in (matrix.T, matrix[::-1, ::-1], used):
            assert test(other).statistic == pytest.approx(statistic, abs=1e-8) and test(other).df == df
        assert test(matrix + matrix.T).statistic == pytest.approx(0, abs=1e-12)


def test_two_categories_make_all_square_tests_mcnemars():
    matrix = np.array([[23, 15], [19, 31]])
    assert stuart_maxwell(matrix).statistic == pytest.approx(16 / 34) == pytest.approx(bowker(matrix).statistic)
    assert stuart_maxwell(matrix).df == bowker(matrix).df == 1


def test_holm_adjusts_step_by_step():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])     # .005 x 4, .01 x 3, .03 x 2
    assert holm([0.02, np.nan, 0.6]) == pytest.approx([0.04, np.nan, 0.6], nan_ok=True)
    assert holm([]).size == 0 and holm([0.2]) == pytest.approx([0.2])
    with pytest.raises(ValueError, match="0 to 1"):
        holm([1.5])


@unhurried
@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_raw_and_bonferronis_p_and_keeps_the_order(p):
    adjusted = holm(p)
    assert (adjusted >= np.array(p) - 1e-15).all() and (adjusted <= np.minimum(1, np.array(p) * len(p)) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()
    assert holm(p[::-1]) == pytest.approx(adjusted[::-1])


def test_paired_accuracies_of_a_published_table():
    patient = np.concatenate([np.repeat(np.arange(21), 2), np.repeat(np.arange(21), 2)])
    only_pet, only_spect = THYROIDS
    right_pet = np.concatenate([[k < each for k in (0, 1)] for each in only_pet] + [[False] * 42])
    right_spect = np.concatenate([[False] * 42] + [[k < each for k in (0, 1)] for each in only_spect])
    result = compare_paired_accuracy(right_pet, right_spect, patient)
    assert result.difference.value == pytest.approx(-6 / 84) and result.difference.n == 21
    assert result.difference.low < result.difference.value < result.difference.high
    assert result.p_value == pytest.approx(0.09097, abs=5e-6)
    assert result.p_unclustered == mcnemar(1, 7) == pytest.approx(0.0703, abs=5e-5)


def test_one_region_per_patient_makes_the_clustered_test_mcnemars_chi_square():
    rng = np.random.default_rng(0)
    a, b = rng.random(400) < 0.8, rng.random(400) < 0.7
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    statistic = clustered_mcnemar(a & ~b, b & ~a).statistic
    assert statistic == pytest.approx(399 / 400 * (only_a - only_b) ** 2 / (only_a + only_b))
    result = compare_paired_accuracy(a, b, np.arange(400))
    assert result.p_value == pytest.approx(result.p_unclustered, rel=0.2)
    error = np.std(a.astype(float) - b, ddof=1) / 20
    width = result.difference.high - result.difference.low
    assert width / (2 * norm.ppf(0.975) * error) == pytest.approx(1, abs=0.07)


def test_regions_that_repeat_each_other_mislead_the_plain_test_and_not_the_clustered_one():
    rejected = np.zeros(2)
    for seed in range(300):
        rng = np.random.default_rng(seed)
        a, b = (np.repeat(rng.random(40) < 0.7, 5) for _ in range(2))          # no true difference
        result = compare_paired_accuracy(a, b, np.repeat(np.arange(40), 5), resamples=20)
        rejected += result.p_value < 0.05, (result.p_unclustered or 0) < 0.05
    assert rejected[0] / 300 < 0.09 and rejected[1] / 300 > 0.25


def test_paired_accuracies_at_the_edges():
    right = np.array([True, False, True, True])
    same = compare_paired_accuracy(right, right, ["A", "A", "B", "B"])
    assert same.p_value == same.p_unclustered == 1.0 and same.difference.value == 0.0
    single = compare_paired_accuracy(right, ~right, ["A"] * 4)
    assert np.isnan(single.p_value) and "a single cluster" in str(single.difference)
    none = compare_paired_accuracy(right[:0], right[:0], [])
    assert np.isnan(none.p_value) and str(none.difference) == "undefined: no case"
    with pytest.raises(ValueError, match="not the same cases"):
        compare_paired_accuracy(right, right[:3], ["A"] * 4)


def test_unknown_methods_and_negative_counts_are_an_error():
    with pytest.raises(ValueError, match="exact, midp, chi2, corrected are known"):
        mcnemar(1, 2, method="binomial")
    with pytest.raises(ValueError, match="negative"):
        mcnemar(-1, 2)
