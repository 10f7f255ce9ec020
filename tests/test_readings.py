"""The tables of an analysis: what is wrong in them is named with its row and column."""

import math

import pytest

from lss_core.study.readings import read_tables
from lss_core.vocabulary import Refusal

READINGS = """reader,experience,patient,case,level,region,arm,session,grade,confidence,duration_s
ann,senior,p1,c1,L4/5,central_canal,unaided,1,2,80,31.5
ann,senior,p1,c1,L4/5,left_lateral_recess,unaided,1,,,31.5
bob,junior,p1,c1,L4/5,central_canal,unaided,1,1,60,50
"""
REFERENCE = """patient,case,region,grade
p1,c1,central_canal,2
p1,c1,left_lateral_recess,0
"""
MODEL = """version,case,region,grade,p0,p1,p2,p3
v1,c1,central_canal,2,0.1,0.1,0.7,0.1
v1,c1,left_lateral_recess,,,,,
"""


def tables(tmp_path, *, readings=READINGS, reference=REFERENCE, model=MODEL):
    paths = [tmp_path / name for name in ("readings.csv", "reference.csv", "model.csv")]
    for path, text in zip(paths, (readings, reference, model), strict=True):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_tables(*paths)


def test_tables_hold_numbers_and_what_is_not_gradable_is_nan(tmp_path):
    read = tables(tmp_path)
    assert read.readings["grade"].tolist()[::2] == [2.0, 1.0] and math.isnan(read.readings["grade"][1])
    assert read.readings["duration_s"].tolist() == [31.5, 31.5, 50.0]
    assert not read.readings["is_repeat"].any()
    assert read.model["p2"][0] == 0.7 and math.isnan(read.model["grade"][1])


def test_a_byte_order_mark_of_a_spreadsheet_is_no_part_of_a_name(tmp_path):
    assert len(tables(tmp_path, readings=b"\xef\xbb\xbf" + READINGS.encode()).readings) == 3


def test_the_same_case_read_again_is_a_repeat_only_where_it_says_so(tmp_path):
    again = READINGS.replace("duration_s\n", "duration_s,is_repeat\n").replace(",31.5\n", ",31.5,0\n")
    again = again.replace(",50\n", ",50,0\nbob,junior,p1,c1,L4/5,central_canal,unaided,1,2,60,50,true\n")
    assert tables(tmp_path, readings=again).readings["is_repeat"].sum() == 1


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"readings": READINGS.replace(",confidence", "")}, "readings.csv lacks the column confidence"),
        ({"readings": READINGS.replace(",2,80", ",4,80")}, "Row 2 of readings.csv, column grade: '4' is not one of"),
        ({"readings": READINGS.replace(",1,60", ",2.5,60")}, "Row 4 of readings.csv, column grade: '2.5'"),
        ({"readings": READINGS.replace(",80,", ",180,")}, "Row 2 .* confidence: '180' is not a number from 0 to 100"),
        ({"readings": READINGS.replace("50\n", "-1\n")}, "Row 4 .* column duration_s: '-1'"),
        ({"readings": READINGS.replace("unaided,1,1", "unaided,one,1")}, "Row 4 .* column session: 'one'"),
        ({"readings": READINGS.replace("unaided,1,1", "unaided,,1")}, "Row 4 .* column session: '' is not a whole"),
        ({"readings": READINGS.replace("L4/5,central", "L6,central")}, "Row 2 .* column level: 'L6'"),
        ({"readings": READINGS.replace("bob", "")}, "Row 4 of readings.csv, column reader is empty"),
        ({"readings": READINGS.replace("bob,junior", "ann,senior")}, "Row 4 .* read twice .*first in row 2"),
        ({"readings": READINGS.replace("bob,junior,p1,c1,L4/5,central", "ann,junior,p1,c1,L4/5,right_lateral_recess"
                                       ).replace("right_lateral_recess_canal", "right_lateral_recess")},
         "gives reader ann several experience levels"),
        ({"readings": READINGS.replace("bob,junior,p1,c1", "bob,junior,p1,c9")}, "Row 4 .* case c9, .* has no grade"),
        ({"readings": READINGS.replace("bob,junior,p1", "bob,junior,p2")}, "Row 4 .* column patient: 'p2' is not the"),
        ({"readings": "reader\n"}, "readings.csv lacks the column experience"),
        ({"readings": READINGS.splitlines()[0]}, "readings.csv holds no rows"),
        ({"readings": ""}, "readings.csv is not a CSV table"),
        ({"readings": READINGS.replace("bob", "bøb").encode("latin-1")}, "readings.csv is not UTF-8"),
        ({"reference": REFERENCE + "p1,c1,central_canal,3\n"}, "Row 4 of reference.csv: .* two .* grades .*row 2"),
        ({"reference": REFERENCE.replace("p1,c1,left", "p2,c1,left")}, "gives case c1 to several patients"),
        ({"reference": REFERENCE.replace("canal,2", "canal,severe")}, "Row 2 of reference.csv, column grade: 'severe'"),
        ({"model": MODEL.replace("0.7", "0.9")}, "Row 2 of model.csv: p0 to p3 add up to 1.200"),
        ({"model": MODEL + "v1,c1,central_canal,2,,,,\n"}, "Row 4 of model.csv: .* graded twice by the same version"),
        ({"model": MODEL + "v1,c2,central_canal,2,,,,\n"}, "Row 4 of model.csv: case c2, .* has no grade"),
        ({"model": MODEL.replace("0.7", "x")}, "Row 2 of model.csv, column p2: 'x'"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(tmp_path, wrong, sentence):
    with pytest.raises(Refusal, match=sentence):
        tables(tmp_path, **wrong)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(Refusal, match=r"no file nothing\.csv"):
        read_tables(tmp_path / "nothing.csv", tmp_path / "reference.csv")
