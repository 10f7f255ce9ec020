"""Laws of the order of reading."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from lss_core.study.database import Arm, CaseKind
from lss_core.study.order import OrderedCase, begins_aided, draw_order, most_repeats, seed_of
from lss_core.study.protocol import Aid, Design, OrderRule, Protocol
from lss_core.vocabulary import Refusal

AID = Aid("v1", "0" * 64)
PLAIN = Protocol(seed="the study's seed")
READERS = 200


def cases(test: int, training: int = 0) -> list[OrderedCase]:
    """Two test cases a patient."""
    taught = [OrderedCase(number, 100 + number, CaseKind.TRAINING) for number in range(1, training + 1)]
    return taught + [OrderedCase(training + n, (n + 1) // 2, CaseKind.TEST) for n in range(1, test + 1)]


def order(protocol=PLAIN, *, test=20, training=0, reader="r1@example.org", study="study-a", session=1, aided=False):
    seed = seed_of(protocol, study_token=study, reader=reader, session_number=session)
    return draw_order(cases(test, training), protocol=protocol, study_token=study, seed=seed, session_number=session,
                      starts_aided=aided)


def numbers(places) -> list[int]:
    return [place.number for place in places]


@pytest.mark.parametrize("rule", OrderRule)
@pytest.mark.parametrize("repeats", [0, 5])
def test_every_case_is_as_likely_at_every_place_over_200_readers(rule, repeats):
    protocol = replace(PLAIN, order=rule, repeats=repeats)
    counts = [[0] * 20 for _ in range(20)]
    for reader in range(READERS):
        first = [place for place in order(protocol, reader=f"r{reader}@example.org") if not place.is_repeat]
        for position, place in enumerate(first):
            counts[place.number - 1][position] += 1
    p_values = [chisquare(row).pvalue for row in counts]
    assert min(p_values) > 0.01 / 20            # Bonferroni over the 20 cases


def test_an_order_is_the_same_on_every_machine_and_after_a_restart():
    assert numbers(order(replace(PLAIN, repeats=2), test=8)) == RECORDED


def test_an_order_differs_by_study_reader_session_and_seed():
    drawn = [
        order(), order(study="study-b"), order(reader="r2@example.org"), order(replace(PLAIN, sessions=2), session=2),
        order(replace(PLAIN, seed="another seed")),
    ]
    assert len({tuple(numbers(each)) for each in drawn}) == 5


def test_an_order_does_not_depend_on_the_order_of_import():
    seed = seed_of(PLAIN, study_token="s", reader="r", session_number=1)
    drawn = [
        draw_order(each, protocol=PLAIN, study_token="s", seed=seed, session_number=1, starts_aided=False)
        for each in (cases(12, 2), cases(12, 2)[::-1])
    ]
    assert drawn[0] == drawn[1]


def test_training_cases_come_first_in_their_order_and_in_the_first_session_alone():
    assert numbers(order(training=3))[:3] == [1, 2, 3]
    assert all(place.kind is CaseKind.TEST for place in order(replace(PLAIN, sessions=2), training=3, session=2))


@pytest.mark.parametrize("test", [2, 3, 4, 5, 9, 20])
@pytest.mark.parametrize("rule", OrderRule)
def test_a_repeat_comes_half_a_session_after_its_first_showing(test, rule):
    protocol = replace(PLAIN, repeats=most_repeats(test), order=rule)
    for reader in range(50):
        places = order(protocol, test=test, reader=f"r{reader}")
        assert len(places) == test + protocol.repeats
        assert sorted(number for number in numbers(places) if numbers(places).count(number) == 2) == sorted(
            [place.number for place in places if place.is_repeat] * 2
        )
        for position, place in enumerate(places):
            if place.is_repeat:
                first = numbers(places).index(place.number)
                assert not places[first].is_repeat
                assert position - first >= max(2, test // 2)


def test_every_case_can_be_the_repeated_one():
    repeated = Counter(
        place.number for reader in range(READERS)
        for place in order(replace(PLAIN, repeats=4), reader=f"r{reader}") if place.is_repeat
    )
    assert chisquare([repeated[number] for number in range(1, 21)]).pvalue > 0.001


def test_more_repeats_than_fit_are_refused():
    with pytest.raises(Refusal, match="11 repeats do not fit among 20 test cases; at most 10"):
        order(replace(PLAIN, repeats=11))
    with pytest.raises(Refusal, match="at most 0"):
        order(replace(PLAIN, repeats=1), test=1)


def test_patient_blocks_keep_the_levels_of_a_patient_together():
    places = [place.number for place in order(replace(PLAIN, order=OrderRule.PATIENT_BLOCKS, repeats=6))
              if not place.is_repeat]
    patients = [(number + 1) // 2 for number in places]
    assert [patients[i] for i in range(0, 20, 2)] == [patients[i] for i in range(1, 20, 2)]


def test_a_repeat_never_splits_the_block_of_a_patient():
    for reader in range(50):
        places = order(replace(PLAIN, order=OrderRule.PATIENT_BLOCKS, repeats=6), reader=f"r{reader}")
        where = {(place.number, place.is_repeat): position for position, place in enumerate(places)}
        for patient in range(1, 11):
            assert abs(where[2 * patient, False] - where[2 * patient - 1, False]) == 1


@pytest.mark.parametrize(("design", "by_session"), [
    (Design.UNAIDED, [{Arm.UNAIDED}, {Arm.UNAIDED}]), (Design.AIDED, [{Arm.AIDED}, {Arm.AIDED}]),
    (Design.UNAIDED_THEN_AIDED, [{Arm.UNAIDED}, {Arm.AIDED}]),
])
def test_the_arms_of_a_fixed_design_are_the_same_for_all_readers(design, by_session):
    protocol = Protocol(design=design, sessions=2, aid=None if design is Design.UNAIDED else AID, seed="s")
    for aided in (False, True):
        assert [{place.arm for place in order(protocol, session=session, aided=aided)} for session in (1, 2)] \
            == by_session


def test_crossover_of_sessions_begins_with_one_arm_and_goes_on_with_the_other():
    protocol = Protocol(design=Design.CROSSOVER_SESSIONS, sessions=2, aid=AID, seed="s")
    arms = [[{place.arm for place in order(protocol, session=session, aided=aided)} for session in (1, 2)]
            for aided in (False, True)]
    assert arms == [[{Arm.UNAIDED}, {Arm.AIDED}], [{Arm.AIDED}, {Arm.UNAIDED}]]


@given(st.lists(st.sampled_from(["junior", "intermediate", "senior"]), max_size=40))
def test_each_level_is_balanced_and_all_readers_nearly(levels):
    sides = begins_aided(levels)
    for level in set(levels):
        own = [side for each, side in zip(levels, sides, strict=True) if each == level]
        assert abs(2 * sum(own) - len(own)) <= 1
    assert abs(2 * sum(sides) - len(sides)) <= 2
    assert begins_aided(levels[:-1]) == sides[:-1]          # who comes later moves nobody


def test_one_reader_of_each_level_does_not_all_begin_alike():
    assert begins_aided(["junior", "intermediate", "senior"]) == [False, True, False]


@pytest.mark.parametrize("test", [8, 20, 21])
def test_crossover_of_cases_is_a_latin_square(test):
    protocol = Protocol(design=Design.CROSSOVER_CASES, sessions=2, aid=AID, seed="s", repeats=3)
    arms = {}
    for index in range(4):
        for session in (1, 2):
            places = order(protocol, test=test, session=session, aided=index % 2 == 1, reader=f"r{index}")
            for place in places:
                assert arms.setdefault((index, session, place.number), place.arm) == place.arm     # repeats too
            aided = sum(place.arm is Arm.AIDED for place in places if not place.is_repeat)
            assert abs(2 * aided - test) <= 2
    for number in range(1, test + 1):
        for index in range(4):
            assert {arms[index, 1, number], arms[index, 2, number]} == set(Arm)        # each case in both arms
        assert arms[0, 1, number] != arms[1, 1, number] and arms[0, 1, number] == arms[2, 1, number]
        assert arms[0, 1, number] == arms[0, 1, number + 1 if number % 2 and number < test else number]   # by patient


RECORDED = [2, 3, 1, 7, 2, 8, 5, 4, 3, 6]
