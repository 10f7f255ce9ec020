from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lss_core.statistics.mrmc_readings import complete, design, readings_from_arrays, readings_from_frame

ROWS = [(reader, arm, case, int(case[-1]) % 2, len(reader) + int(case[-1]))
        for reader in ("ann", "bertha") for arm in ("unaided", "aided") for case in ("c1", "c2", "c3", "c4")]


def table(rows=ROWS):
    frame = pd.DataFrame(rows, columns=["reader", "arm", "case", "truth", "score"])
    return frame.assign(patient="p" + (frame["case"].str[-1].astype(int) // 3).astype(str))


def arrays(read, **named):
    """Readings of zeros where `read` [arm, reader, case]."""
    read = np.asarray(read, bool)
    return readings_from_arrays(np.where(read, 0.0, np.nan), np.arange(read.shape[2]) % 2, **named)


def test_table_keeps_each_score_in_its_place():
    made = readings_from_frame(table(), arm="arm", cluster="patient")
    assert (made.arms, made.readers, made.cases) == (("unaided", "aided"), ("ann", "bertha"), ("c1", "c2", "c3", "c4"))
    assert made.score[1].tolist() == [[4, 5, 6, 7], [7, 8, 9, 10]]
    assert made.truth.tolist() == [1, 0, 1, 0]
    assert made.clusters.tolist() == ["p0", "p0", "p1", "p1"]


def test_table_without_arms_is_one_arm_and_without_clusters_cases_stand_alone():
    made = readings_from_frame(table().query("arm == 'aided'"))
    assert made.score.shape == (1, 2, 4)
    assert made.clusters.tolist() == list(made.cases)


def test_empty_score_is_a_case_that_was_not_read():
    frame = table()
    frame["score"] = frame["score"].astype(object)
    frame.loc[2, "score"] = None
    assert np.isnan(readings_from_frame(frame, arm="arm").score[0, 0, 2])


@pytest.mark.parametrize(("change", "message"), [
    (lambda frame: frame.drop(columns="truth"), "Column truth is missing: the table has reader, arm"),
    (lambda frame: frame.iloc[:0], "no reading"),
    (lambda frame: pd.concat([frame, frame.iloc[[3]]]), "Row 17: the same arm, reader, case stand in an earlier row"),
    (lambda frame: frame.assign(score=["x", *frame["score"][1:]]), "Row 1: column score holds no number"),
    (lambda frame: frame.assign(reader=[*frame["reader"][:-1], None]), "Row 16: column reader is empty"),
    (lambda frame: frame.assign(truth=[np.nan, *frame["truth"][1:]]), "Row 1: column truth is empty"),
    (lambda frame: frame.assign(truth=[*frame["truth"][:-1], 1]), "Row 16: its case has two truths"),
    (lambda frame: frame.assign(patient=[*frame["patient"][:-1], "p9"]), "Row 16: its case has two clusters"),
])
def test_bad_tables_are_refused_by_row_and_column(change, message):
    with pytest.raises(ValueError, match=message):
        readings_from_frame(change(table()), arm="arm", cluster="patient")


@pytest.mark.parametrize(("score", "truth", "named", "message"), [
    (np.zeros(3), np.zeros(3), {}, "reader, case"),
    (np.zeros((2, 3)), np.zeros(4), {}, "3 cases with"),
    (np.zeros((2, 3)), np.zeros(3), {"readers": ["a", "a"]}, "reader a is named twice"),
    (np.zeros((2, 3)), np.array([0, 1, np.nan]), {}, "reference of case 3 is missing"),
    (np.full((2, 3), np.inf), np.zeros(3), {}, "infinite"),
    (np.zeros((2, 3)), np.zeros(3), {"arms": ["a", "b"]}, "for \\(2, 2, 3\\) arms"),
])
def test_bad_arrays_are_refused(score, truth, named, message):
    with pytest.raises(ValueError, match=message):
        readings_from_arrays(score, truth, **named)


def test_complete_readings_stay_as_they_are():
    made = readings_from_frame(table(), arm="arm")
    found = complete(made)
    assert np.array_equal(found.score, made.score)
    assert (found.readers_left_out, found.cases_left_out, found.readings_left_out) == ((), (), 0)
    assert design(found) == "fully crossed"


def test_unfinished_reader_is_left_out_by_name_and_costs_no_case():
    read = np.ones((2, 3, 10), bool)
    read[1, 2, 4:] = False
    found = complete(arrays(read, readers=["a", "b", "c"], arms=["unaided", "aided"]))
    assert found.readers_left_out == ("Reader c read 4 of 10 cases under aided.",)
    assert found.readers == ("a", "b")
    assert (len(found.cases), found.readings_left_out) == (10, 14)


def test_case_that_one_reader_lacks_is_left_out_by_name():
    read = np.ones((2, 3, 10), bool)
    read[1, 2, 7] = False
    found = complete(arrays(read))
    assert (found.cases_left_out, len(found.cases), found.readings_left_out) == (("8",), 9, 5)
    own = complete(arrays(read), common_cases=False)
    assert (own.cases_left_out, own.readings_left_out) == ((), 2)
    assert design(own) == "partly paired cases"


def test_least_share_decides_who_counts_as_finished():
    read = np.ones((1, 3, 10), bool)
    read[0, 2, 6:] = False
    assert complete(arrays(read)).score.shape == (1, 3, 6)
    assert complete(arrays(read), least_share=0.7).score.shape == (1, 2, 10)


def test_reader_without_an_arm_is_left_out():
    read = np.ones((2, 3, 6), bool)
    read[0, 1] = False
    found = complete(arrays(read, arms=["unaided", "aided"]))
    assert found.readers_left_out == ("Reader 2 read no case under unaided.",)


def test_case_missing_in_a_block_costs_that_block_alone():
    read = np.zeros((1, 4, 12), bool)
    read[:, :2, :6] = read[:, 2:, 6:] = True
    read[0, 0, 0] = False
    found = complete(arrays(read))
    assert found.cases_left_out == ("1",)
    assert found.read.sum() == 2 * 5 + 2 * 6
    assert design(found) == "split-plot, 2 blocks of readers and cases"
    assert len(set(found.blocks.tolist())) == 2


def test_completing_twice_adds_nothing():
    rng = np.random.default_rng(3)
    once = complete(arrays(rng.random((2, 5, 40)) > 0.02))
    twice = complete(once)
    assert np.array_equal(once.score, twice.score)
    assert once.cases_left_out == twice.cases_left_out
    assert once.cases_left_out


@pytest.mark.parametrize(("read", "wanted", "message"), [
    (np.zeros((1, 2, 4), bool), {}, "No reader is left: Reader 1 read no case"),
    (np.eye(2, dtype=bool).repeat(4, axis=1)[:, None].repeat(2, axis=1), {}, "common_cases=False"),
    (np.ones((1, 2, 4), bool), {"least_share": 2}, "Least share 2"),
])
def test_nothing_left_is_refused_with_the_remedy(read, wanted, message):
    with pytest.raises(ValueError, match=message):
        complete(arrays(read), **wanted)


def test_names_are_kept_when_readings_are_left_out_twice():
    read = np.ones((1, 3, 10), bool)
    read[0, 2, 1] = False
    once = complete(arrays(read))
    score = once.score.copy()
    score[0, 0, 0] = np.nan
    assert complete(replace(once, score=score)).cases_left_out == ("2", "1")
