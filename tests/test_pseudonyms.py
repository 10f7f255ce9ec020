"""The site's key: made once, read by nobody else, and alone able to lead back from a pseudonym."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lss_core.imaging.identity import Identity
from lss_core.imaging.pseudonyms import FOLDER, KEY, LIST, SiteKeys
from lss_core.vocabulary import Refusal

WHO = {"patient id": "MRN-7481923", "name": "ZYXWVUT QUIRIN"}
ROOT = Path(__file__).resolve().parent.parent


def identity(**known) -> Identity:
    nobody = {"patient_id": "", "issuer": "", "name": "", "birth_date": "", "study_date": "", "study_uid": "1.2.3"}
    return Identity(**(nobody | known))


def test_the_key_is_made_once_and_readable_by_its_owner_alone(tmp_path):
    first, second = SiteKeys.of(tmp_path), SiteKeys.of(tmp_path)
    assert first == second
    assert (tmp_path / FOLDER / KEY).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / FOLDER).stat().st_mode & 0o777 == 0o700
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == [KEY]


def test_processes_that_begin_at_once_share_one_key(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        keys = list(threads.map(lambda _: SiteKeys.of(tmp_path), range(8)))
    assert len({key.digest("any", "text") for key in keys}) == 1


def test_the_key_is_not_shown(tmp_path):
    key = (tmp_path / FOLDER / KEY)
    shown = repr(SiteKeys.of(tmp_path))
    assert key.read_text().strip() not in shown and str(bytes.fromhex(key.read_text())) not in shown


def test_a_key_that_others_may_read_is_refused(tmp_path):
    SiteKeys.of(tmp_path)
    os.chmod(tmp_path / FOLDER / KEY, 0o640)
    with pytest.raises(Refusal, match="chmod 600"):
        SiteKeys.of(tmp_path)


def test_a_lost_key_is_not_replaced_while_its_list_is_there(tmp_path):
    SiteKeys.of(tmp_path).patient_list().add("P-1", WHO)
    (tmp_path / FOLDER / KEY).unlink()
    with pytest.raises(Refusal, match="bring the key back"):
        SiteKeys.of(tmp_path)


def test_a_damaged_key_is_named(tmp_path):
    SiteKeys.of(tmp_path)
    (tmp_path / FOLDER / KEY).write_text("abc")
    with pytest.raises(Refusal, match="holds no key"):
        SiteKeys.of(tmp_path)


def test_a_pseudonym_is_the_same_for_a_patient_and_another_at_another_site(tmp_path):
    here, there = SiteKeys.of(tmp_path / "here"), SiteKeys.of(tmp_path / "there")
    assert here.name("P", "id", "7481923") == here.name("P", "id", "7481923") != there.name("P", "id", "7481923")
    assert here.name("P", "id", "7481923")[1:] != here.name("S", "id", "7481923")[1:]
    assert here.name("P", "ab", "c") != here.name("P", "a", "bc")


def test_pseudonyms_of_many_patients_differ(tmp_path):
    keys = SiteKeys.of(tmp_path)
    names = {keys.name("P", "id", str(number)) for number in range(20_000)}
    assert len(names) == 20_000 and all(len(name) == 10 and name.startswith("P-") for name in names)


def test_shifts_are_one_to_365_days_and_a_patients_own(tmp_path):
    keys = SiteKeys.of(tmp_path)
    shifts = [keys.shift_days(f"P-{number}") for number in range(5000)]
    assert min(shifts) == 1 and max(shifts) == 365 and keys.shift_days("P-7") == shifts[7]


def test_uids_are_valid_and_consistent(tmp_path):
    keys = SiteKeys.of(tmp_path)
    assert keys.uid("1.2.3") == keys.uid("1.2.3") != keys.uid("1.2.4")
    assert all(keys.uid(f"1.2.{number}").is_valid for number in range(500))


def test_the_list_leads_back_and_shows_nothing_to_who_lacks_the_key(tmp_path):
    patients = SiteKeys.of(tmp_path).patient_list()
    patients.add("P-1", WHO)
    patients.add("P-2", {"patient id": "other"})
    patients.add("P-1", {"patient id": "a second time"})
    assert SiteKeys.of(tmp_path).patient_list().who("P-1") == WHO
    content = (tmp_path / FOLDER / LIST).read_bytes()
    assert content.count(b"\n") == 2 and b"P-1" not in content and b"7481923" not in content
    assert (tmp_path / FOLDER / LIST).stat().st_mode & 0o777 == 0o600


def test_a_name_that_is_not_on_the_list_is_refused(tmp_path):
    with pytest.raises(Refusal, match="P-9 is not on this site's list"):
        SiteKeys.of(tmp_path).patient_list().who("P-9")


def test_an_altered_list_is_refused_with_its_line(tmp_path):
    patients = SiteKeys.of(tmp_path).patient_list()
    patients.add("P-1", WHO)
    file = tmp_path / FOLDER / LIST
    file.write_bytes(file.read_bytes().swapcase())
    with pytest.raises(Refusal, match="Line 1 of"):
        SiteKeys.of(tmp_path).patient_list().who("P-1")


def test_a_line_that_a_killed_process_left_half_written_is_no_line(tmp_path):
    SiteKeys.of(tmp_path).patient_list().add("P-1", WHO)
    file = tmp_path / FOLDER / LIST
    file.write_bytes(file.read_bytes() + b"half a li")
    patients = SiteKeys.of(tmp_path).patient_list()
    patients.add("P-2", {"patient id": "next"})
    again = SiteKeys.of(tmp_path).patient_list()
    assert again.who("P-1") == WHO and again.who("P-2") == {"patient id": "next"}
    assert file.read_bytes().count(b"\n") == 2


def test_lines_of_two_processes_at_once_stay_whole(tmp_path):
    SiteKeys.of(tmp_path)
    add = ("import sys\nfrom pathlib import Path\nfrom lss_core.imaging.pseudonyms import SiteKeys\n"
           "patients = SiteKeys.of(Path(sys.argv[1])).patient_list()\n"
           "[patients.add(f'P-{sys.argv[2]}-{n}', {'patient id': 'x' * 500}) for n in range(100)]\n")
    running = [subprocess.Popen([sys.executable, "-c", add, tmp_path, str(n)], cwd=ROOT) for n in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    patients = SiteKeys.of(tmp_path).patient_list()
    assert all(patients.who(f"P-{process}-{n}") for process in range(2) for n in (0, 50, 99))
    assert len((tmp_path / FOLDER / LIST).read_bytes().splitlines()) == 200


def test_a_patient_is_known_by_number_else_by_name_and_birth_date_else_by_study(tmp_path):
    keys = SiteKeys.of(tmp_path)
    numbered = identity(patient_id="12", name="A B", birth_date="19500101")
    assert numbered.pseudonym(keys) == identity(patient_id="12", study_uid="9").pseudonym(keys)
    assert numbered.pseudonym(keys) != identity(patient_id="12", issuer="other hospital").pseudonym(keys)
    person = {"name": "A B", "birth_date": "19500101"}
    unnumbered = identity(patient_id="ANONYMOUS", study_uid="9", **person)
    assert identity(**person).pseudonym(keys) == unnumbered.pseudonym(keys)
    assert identity().pseudonym(keys) != identity(study_uid="9").pseudonym(keys)


def test_a_person_is_recognised_under_two_numbers(tmp_path):
    keys = SiteKeys.of(tmp_path)
    person = {"name": "A B", "birth_date": "19500101", "sex": "F"}
    first, second = identity(patient_id="1", **person), identity(patient_id="2", **person)
    assert first.person_digest(keys) == second.person_digest(keys) != ""
    assert identity(patient_id="3", name="A B").person_digest(keys) == ""
    assert identity(name="ANONYMOUS", birth_date="19500101", sex="F").person_digest(keys) == ""


@pytest.mark.parametrize(("known", "years"), [
    ({"stated_age": 61}, 61), ({"birth_date": "19500615", "study_date": "20200614"}, 69),
    ({"birth_date": "19500615", "study_date": "20200615"}, 70), ({"birth_date": "19500615"}, None),
    ({"birth_date": "19200101", "study_date": "20200615"}, 89),
    ({"birth_date": "20210101", "study_date": "20200615"}, None),
])  # fmt: skip
def test_the_age_comes_from_the_header_or_from_two_dates_and_is_at_most_89(known, years):
    assert identity(**known).age_years == years


def test_an_identity_shows_nothing():
    shown = repr(identity(patient_id="7481923", name="ZYXWVUT", birth_date="19470213", study_date="20190317"))
    assert not any(secret in shown for secret in ("7481923", "ZYXWVUT", "1947", "2019"))
