"""The whole study in one browser: scans in, labels, a model trained, readers against it, the dashboard.

    python -m benchmarks.whole_paper [--patients N] [--pictures FOLDER] [--home FOLDER [--go-on PART]]

Starts the server over an installation of its own, writes N simulated patients as DICOM into a folder of that server,
and does everything else as people do it: in Chromium, by mouse and keyboard. Prints how long each part took. Patients,
annotators and readers are simulated: the figures say nothing about people.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, TimeoutError, expect, sync_playwright
from pydicom import dcmread
from sqlalchemy import Engine
from sqlmodel import select

from lss_core.curation import adjudication, collections, labels, levels, scans
from lss_core.curation.proposing import scans_to_propose
from lss_core.curation.scans import CuratedScanRow
from lss_core.grading.pipeline import MODELS
from lss_core.imaging.pseudonyms import SiteKeys
from lss_core.scan_import import look_up
from lss_core.settings import Settings
from lss_core.simulation.series import write_simulated
from lss_core.study import cases, people, studies
from lss_core.study.actors import Actor, actor_of
from lss_core.study.connection import open_database, reading
from lss_core.study.database import Account, ReadingItem
from lss_core.study.reading import current_case
from lss_core.vocabulary import DiscLevel, Region
from tests.browser.conftest import CHROMIUM, FLAGS, choose_tab, free_port, launch, settle

SLOW_MS, WORK_MS = 60_000, 1_800_000
ANNOTATORS = ("surgeon-a@example.org", "surgeon-b@example.org", "surgeon-c@example.org")
READERS = {
    "ana@example.org": ("Ana Reader", 2), "ben@example.org": ("Ben Reader", 7), "cho@example.org": ("Cho Reader", 15),
}
LOCAL = "local user"
TITLE, STUDY, VERSION = "Lumbar CT of two surgeons", "Readers and model on the control set", "own-1"
SEED = 7
NEAR = 2                                # slices by which a proposed level may be off


@dataclass
class Paper:
    """One run: the page, the installation behind it, and what each part took."""

    page: Page
    address: str
    engine: Engine
    settings: Settings
    pile: Path
    steps: int
    kept: tuple[DiscLevel, ...] = tuple(DiscLevel)
    pictures: Path | None = None
    taken_s: dict[str, float] = field(default_factory=dict)
    by_hand: int = 0                    # levels that the software had not found, or elsewhere

    # What any page needs

    def open(self, path: str) -> None:
        self.page.goto(f"{self.address}{path}")
        self.settle()

    def settle(self) -> None:
        """Wait until the server has answered: what is typed into a page that is being made may be lost."""
        settle(self.page)

    def tab(self, name: str) -> None:
        choose_tab(self.page, name)

    def press(self, name: str | re.Pattern[str]) -> None:
        self.page.get_by_role("button", name=name).filter(visible=True).first.click(timeout=SLOW_MS)
        self.settle()

    def see(self, text: str | re.Pattern[str], *, within_ms: int = SLOW_MS) -> Locator:
        found = self.page.get_by_text(text).filter(visible=True).first
        expect(found).to_be_visible(timeout=within_ms)
        return found

    def picture(self, name: str) -> None:
        """A screenshot for the tour, where one is made."""
        if self.pictures is not None:
            self.settle()
            self.page.wait_for_timeout(700)
            self.page.screenshot(path=self.pictures / f"{name}.png")

    def act_as(self, who: str) -> None:
        """Let the local user act as somebody else."""
        option, name = self.page.get_by_role("option", name=re.compile(re.escape(who))), ""
        self.settle()
        for _ in range(10):                     # a page that is made anew closes the list
            self.page.get_by_role("combobox").first.click(timeout=SLOW_MS)
            with suppress(TimeoutError):
                name = option.inner_text(timeout=2000).split(" (")[0]
                option.click(timeout=2000)
                break
        self.see(f"Now acting as: {name}")
        self.settle()

    def confirm(self, button: str, last: str, *, name: str = "", word: str = "", reason: str = "") -> None:
        """Open the dialog of an act that cannot be undone, fill it in, and press its last button."""
        self.press(button)
        dialog = self.page.get_by_role("dialog")
        fields = (("Reason", reason), ("Sign with your name", name), ("to confirm", word))
        for label, value in fields:
            if value:
                dialog.get_by_role("textbox", name=label).fill(value, timeout=SLOW_MS)
                dialog.get_by_role("textbox", name=label).press("Tab")
        self.settle()
        dialog.get_by_role("button", name=last, exact=True).click(timeout=SLOW_MS)
        expect(dialog).to_be_hidden(timeout=SLOW_MS)
        self.settle()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        begun = time.monotonic()
        yield
        self.taken_s[name] = round(time.monotonic() - begun, 1)
        print(f"{name}: {self.taken_s[name]} s", flush=True)

    # The parts, in their order

    def begin_collection(self) -> None:
        self.open("/curate")
        self.page.get_by_role("textbox", name="Title").fill(TITLE, timeout=SLOW_MS)
        self.press("Create the collection")
        expect(self.page.get_by_role("heading", name=TITLE)).to_be_visible(timeout=SLOW_MS)
        self.tab("People")
        for email in ANNOTATORS:
            self.invite(email, "Annotator")

    def invite(self, email: str, role: str) -> None:
        self.page.get_by_role("textbox", name="E-mail").fill(email, timeout=SLOW_MS)
        self.press("Invite")
        self.see(f"{email} is invited as {role.lower()}")

    def import_scans(self) -> None:
        self.tab("Import")
        self.page.get_by_text("Folder on the server", exact=True).click(timeout=SLOW_MS)
        self.settle()
        self.press("Import the folder")
        self.see("scans added", within_ms=WORK_MS)
        self.picture("import")

    def confirm_levels(self) -> None:
        """Look at the software's proposals, put right by hand what they miss, and confirm scan after scan."""
        self.tab("Levels")
        self.press("Propose levels and regions")
        self.see(re.compile(r"scans? looked at"), within_ms=WORK_MS)
        self.picture("levels")
        total = len({scan_id for scan_id, _ in self.truth})
        desk, shown = self.page.locator(".lssw"), ""
        for number in range(total):
            expect(desk).not_to_have_attribute("data-scan", shown, timeout=SLOW_MS)
            expect(self.page.locator('.lssv[data-ready="true"]')).to_be_visible(timeout=SLOW_MS)
            shown = desk.get_attribute("data-scan") or ""
            for level in set(DiscLevel) - set(self.kept):
                self.press(f"No {level.value} in this scan")
                expect(desk.get_by_role("button", name=f"No {level.value} in this scan")).to_be_disabled()
            self.place_by_hand(int(shown.rpartition("-")[2]))
            if number == 0:
                desk.evaluate("desk => desk.scrollIntoView()")
                self.picture("levels-confirmed")
            self.press("Confirm the levels")
            self.see(f"{number + 1} of {total} scans confirmed")
        if self.by_hand:                        # levels that were placed by hand have no proposed regions yet
            self.press("Propose levels and regions")
            self.wait_for_proposals()           # what the first run told may stand there until the second has ended

    def wait_for_proposals(self) -> None:
        until = time.monotonic() + 5 * SLOW_MS / 1000
        while scans_to_propose(self.engine, people.local_account(self.engine), self.collection_id):
            assert time.monotonic() < until, "regions were not proposed in every scan"
            self.page.wait_for_timeout(500)
        self.settle()

    def place_by_hand(self, scan_id: int) -> None:
        """By keyboard: each level that is not where the disc is."""
        cases_now = levels.cases_of(self.engine, people.local_account(self.engine), self.collection_id)
        marked = {case.level: case.slice_index for case in cases_now if case.scan_id == scan_id}
        for key, level in enumerate(DiscLevel, start=1):
            wanted = self.slices.get((scan_id, level))
            if wanted is None or abs(marked.get(level, -NEAR - 1) - wanted) <= NEAR:
                continue
            self.page.locator(".lssv-stage").focus()
            self.page.keyboard.press("Home")
            for step in ["PageUp"] * (wanted // 5) + ["ArrowUp"] * (wanted % 5):
                self.page.keyboard.press(step)
            expect(self.page.locator(".lssv")).to_have_attribute("data-slice", str(wanted), timeout=SLOW_MS)
            self.page.keyboard.press(str(key))
            row = self.page.get_by_role("table", name="Levels of this scan").get_by_role("row", name=level.value)
            expect(row).to_contain_text(f"slice {wanted + 1}", timeout=SLOW_MS)
            expect(self.page.get_by_text("saving")).to_have_count(0, timeout=SLOW_MS)
            self.by_hand += 1
        self.settle()

    def draw_regions(self) -> None:
        """The first annotator takes over the proposals; the second those of a few cases, for the overlap."""
        for who, many in ((ANNOTATORS[0], self.cases), (ANNOTATORS[1], min(4, self.cases))):
            self.act_as(who)
            self.tab("Regions")
            drawn = self.see(re.compile(r"You have drawn \d+ of")).inner_text()
            for number in range(int(re.findall(r"\d+", drawn)[0]), many):
                self.see(f"You have drawn {number} of")
                expect(self.page.locator('.lssv[data-ready="true"]')).to_be_visible(timeout=SLOW_MS)
                self.press("Accept all")
                if number == many - 1 and who == ANNOTATORS[0]:
                    self.picture("regions-surgeon-a")
                self.press("Save, next case")
            self.see(f"You have drawn {many} of")
        self.act_as(LOCAL)
        self.tab("Regions")
        self.page.get_by_text("Agreement of the annotators").click()
        self.picture("regions-agreement")

    def set_plan(self) -> None:
        self.tab("Plan")
        for label, who in zip(("First annotator", "Second annotator", "Adjudicator"), ANNOTATORS, strict=True):
            self.choose(label, who)
        self.press("Set the plan")
        self.see("The plan is set.")

    def choose(self, label: str, option: str) -> None:
        self.page.get_by_role("combobox", name=re.compile(label)).filter(visible=True).click(timeout=SLOW_MS)
        self.page.get_by_role("option", name=re.compile(re.escape(option))).click(timeout=SLOW_MS)
        self.settle()

    def label(self) -> None:
        """Both grade every case alone: the first as the simulation measured, the second errs now and then."""
        errs = random.Random(SEED)
        for who in ANNOTATORS[:2]:
            self.act_as(who)
            self.tab("Labels")
            for number in range(1, self.cases + 1):
                self.wait_for_case(rf"Case {number} of {self.cases} · L\d/[1-5S]1?")
                grades = self.grades_of_label(who)
                if who == ANNOTATORS[1]:
                    grades = [self.slipped(grade, errs, 0.2) for grade in grades]
                self.grade(grades)
                if number == 3 and who == ANNOTATORS[0]:
                    self.picture("labels-surgeon-a")
                self.submit()
            self.see(f"You have labelled all {self.cases} cases")
        self.act_as(LOCAL)
        self.tab("Agreement")
        self.picture("agreement")

    def wait_for_case(self, title: str) -> None:
        expect(self.page.locator(".lssd-title")).to_have_text(re.compile(f"^{title}$"), timeout=SLOW_MS)
        expect(self.page.locator('.lssv[data-ready="true"]')).to_be_visible(timeout=SLOW_MS)
        expect(self.page.locator(".lssd-cover")).to_be_hidden(timeout=SLOW_MS)

    def grade(self, grades: list[int], *, confidence: bool = False) -> None:
        """By keyboard, from the first region on."""
        self.page.locator(".lssd-grade input").first.focus()
        for number, each in enumerate(grades):
            if number:
                self.page.keyboard.press("ArrowDown")
            self.page.keyboard.press(str(each))
            for _ in range(3 if confidence else 0):
                self.page.keyboard.press(".")
        expect(self.page.locator(".lssd-grade input:checked")).to_have_count(len(grades), timeout=SLOW_MS)

    def submit(self) -> None:
        self.page.wait_for_timeout(450)         # an Enter just after a case appears is meant for the one before
        self.page.keyboard.press("Enter")

    @staticmethod
    def slipped(grade: int, errs: random.Random, share: float) -> int:
        """The grade, or now and then a neighbouring one."""
        return min(3, max(0, grade + errs.choice((-1, 1)))) if errs.random() < share else grade

    def grades_of_label(self, who: str) -> list[int]:
        """What the simulation measured in the case that is due to an annotator."""
        task = labels.next_case(self.engine, self.person(who), self.collection_id)
        assert task is not None
        scan_id = next(row.scan_id for row in self.scans if row.scan_key == task.scan_key)
        return [self.truth[scan_id, task.level][region] for region in Region]

    def adjudicate(self) -> None:
        """The third decides every disagreement for the milder grade."""
        self.act_as(ANNOTATORS[2])
        self.tab("Adjudicate")
        found = adjudication.disagreements(self.engine, self.person(ANNOTATORS[2]), self.collection_id)
        for number, each in enumerate(found):
            self.see(f"{number} of {len(found)} disagreement")
            if number == 0:
                self.picture("adjudicate")
            grade = next(grade for grade in each.grades if grade is not None)
            title = f"{each.number}: {each.level.value}, {each.region.label}"
            expect(self.page.locator("strong").get_by_text(title)).to_be_visible(timeout=SLOW_MS)
            self.settle()
            self.page.wait_for_timeout(700)     # the viewer tells its slice, and the page is made once more
            self.settle()
            self.page.locator("label").filter(has=self.page.get_by_role("radio")).nth(grade).click(timeout=SLOW_MS)
            self.page.get_by_role("textbox", name="Reason").fill("the milder grade fits the criteria")
            expect(self.page.get_by_role("radio").nth(grade)).to_be_checked()
            self.press("Decide")
        self.see("Everything is decided.")
        self.act_as(LOCAL)

    def lock_reference(self) -> None:
        self.tab("Reference")
        self.confirm("Lock the reference …", "Sign and lock", name=LOCAL, word="lock")
        self.see("Reference 1 is locked.")
        self.picture("reference")

    def lock_split(self) -> None:
        self.tab("Split")
        self.see("Table 1")
        self.picture("split")
        self.confirm("Lock the split …", "Sign and lock", name=LOCAL, word="lock")
        self.see("This split is locked.")

    def train(self) -> None:
        """Fine-tune the shipped classifier for a few steps: the path is whole, the weights are hardly other ones."""
        self.tab("Train")
        self.page.get_by_role("textbox", name="Name of the new version").fill(VERSION, timeout=SLOW_MS)
        self.page.get_by_role("spinbutton", name="Steps").fill(str(self.steps))
        self.press("Start the training")
        self.see(f"The training of {VERSION} is started")
        self.see("See it on the Models page", within_ms=WORK_MS)
        self.picture("train")

    def evaluate(self) -> None:
        self.open_collection("Train")
        self.see(VERSION)                       # the version trained here is proposed
        self.page.get_by_role("combobox", name=re.compile("^Versions|" + VERSION)).fill("v1", timeout=SLOW_MS)
        self.page.keyboard.press("Enter")
        self.settle()
        self.page.keyboard.press("Tab")
        self.press("Evaluate on the control set")
        self.see("Evaluated. The figures are below", within_ms=WORK_MS)
        self.see("The last evaluation as text").scroll_into_view_if_needed()
        self.picture("evaluate")

    def open_collection(self, tab: str) -> None:
        self.open("/curate")
        self.press(TITLE)
        self.tab(tab)

    def hand_over(self) -> None:
        self.tab("Hand over")
        self.page.get_by_role("textbox", name="Title of the study").fill(STUDY, timeout=SLOW_MS)
        self.press("Open the reader study")
        self.see(f"The study “{STUDY}” is made", within_ms=WORK_MS)
        self.picture("hand-over")

    def lock_study(self) -> None:
        self.open("/study")
        self.press(STUDY)
        self.tab("Protocol")
        for version in ("v1", VERSION):
            self.page.get_by_role("combobox", name=re.compile("Model versions compared")).fill(version, timeout=SLOW_MS)
            self.page.keyboard.press("Enter")
            self.settle()
        self.page.keyboard.press("Tab")
        self.page.get_by_role("textbox", name="Instructions to readers").fill("Grade what you see.", timeout=SLOW_MS)
        self.page.get_by_role("textbox", name="Instructions to readers").press("Tab")
        self.settle()
        self.press("Save the protocol")
        self.see("The protocol is saved.")
        self.tab("People")
        for email in READERS:
            self.invite(email, "Reader")
        self.tab("Overview")
        self.picture("study")
        self.confirm("Lock the protocol …", "Sign and lock", name=LOCAL, word="lock")
        self.see("is locked and the study is open to its readers")

    def read(self) -> None:
        """Three readers grade the control set, the more experienced the better, and sign."""
        errs = random.Random(SEED + 1)
        for who, (name, years) in READERS.items():
            self.act_as(who)
            self.open("/read")
            self.press(re.compile("^Begin$"))
            for label, value in (("Name", name), ("Specialty", "spine surgery"), ("Years of experience", str(years)),
                                 ("Lumbar CTs read a year", "300")):
                self.page.get_by_label(label, exact=label == "Name").fill(value, timeout=SLOW_MS)
            self.press("Save")
            box = self.page.get_by_role("checkbox", name="I have read the instructions")
            box.focus(timeout=SLOW_MS)
            self.page.keyboard.press("Space")
            self.settle()
            self.press("Begin session 1")
            for number in range(1, self.control + 1):
                self.wait_for_case(rf"Case {number} of {self.control} · L\d/[1-5S]1?")
                share = 0.4 if years < 5 else 0.25 if years < 10 else 0.1
                self.grade([self.slipped(grade, errs, share) for grade in self.grades_of_reading(who)], confidence=True)
                if number == 2:
                    self.picture("read")
                self.submit()
            self.page.get_by_role("radio", name="I read these cases myself, without help").check(
                force=True, timeout=SLOW_MS)
            self.page.get_by_label("Your name").fill(name)
            self.press("Sign this session")
            self.see("You have read and signed all sessions")
        self.act_as(LOCAL)

    def unblind(self) -> None:
        self.open("/dashboard")
        self.press(STUDY)
        self.picture("dashboard-blinded")
        self.open("/study")
        self.press(STUDY)
        self.confirm("Close …", "Close the study", word="close", reason="all have read")
        self.confirm("Unblind …", "Unblind", word="unblind", reason="analysis")
        self.see("The study is unblinded.")

    def look(self) -> None:
        self.open("/dashboard")
        self.press(STUDY)
        self.see("Headline")
        self.page.locator(".js-plotly-plot").first.wait_for(timeout=SLOW_MS)
        self.picture("dashboard-headline")
        for tab in ("Readers", "Confusion"):
            self.tab(tab)
            self.page.locator(".js-plotly-plot").filter(visible=True).first.wait_for(timeout=SLOW_MS)
            self.picture(f"dashboard-{tab.lower()}")

    # What the run knows of the simulation, which no page tells

    @cached_property
    def collection_id(self) -> int:
        return collections.my_collections(self.engine, people.local_account(self.engine))[0].collection_id

    @cached_property
    def scans(self) -> tuple[CuratedScanRow, ...]:
        return scans.scans_of(self.engine, people.local_account(self.engine), self.collection_id)

    @cached_property
    def truth(self) -> dict[tuple[int, DiscLevel], dict[Region, int]]:
        """(scan, level) to the grade of each region, as the simulation measured it."""
        found: dict[tuple[int, DiscLevel], dict[Region, int]] = {}
        for place, row in self._reference:
            found.setdefault(place, {})[Region(row["region"])] = int(row["grade"])
        return found

    @cached_property
    def slices(self) -> dict[tuple[int, DiscLevel], int]:
        """(scan, level) to the slice through its disc, counted from the feet."""
        uids = {folder.name: _from_the_feet(folder) for folder in self.pile.iterdir() if folder.is_dir()}
        return {place: uids[row["patient"]].index(row["sop_instance_uid"]) for place, row in self._reference}

    @cached_property
    def _reference(self) -> list[tuple[tuple[int, DiscLevel], dict[str, str]]]:
        """The rows of the levels that are kept, each with its scan and level."""
        keys = SiteKeys.of(self.settings.data)
        scan_of = {look_up(self.engine, keys, row.patient)["patient id"]: row.scan_id for row in self.scans}
        with (self.pile / "reference.csv").open(newline="") as rows:
            return [((scan_of[row["patient"]], DiscLevel(row["level"])), row) for row in csv.DictReader(rows)
                    if DiscLevel(row["level"]) in self.kept]

    @property
    def study_id(self) -> int:
        return next(each.study_id for each in studies.my_studies(self.engine, people.local_account(self.engine))
                    if each.title == STUDY)

    @property
    def control(self) -> int:
        return len(self._control_truth)

    @cached_property
    def _control_truth(self) -> dict[int, dict[Region, int]]:
        """Case of the study to its grades, as the simulation measured them."""
        patients = {row.patient: row.scan_id for row in self.scans}
        rows = cases.cases_of(self.engine, people.local_account(self.engine), self.study_id)
        return {row.case_id: self.truth[patients[row.patient], row.level] for row in rows}

    def grades_of_reading(self, who: str) -> list[int]:
        due = current_case(self.engine, self.person(who), self.study_id)
        assert due is not None
        with reading(self.engine) as session:
            case_id = session.exec(select(ReadingItem.case_id).where(ReadingItem.token == due.token)).one()
        return [self._control_truth[case_id][region] for region in Region]

    @property
    def cases(self) -> int:
        return len(self.truth)

    def person(self, email: str) -> Actor:
        with reading(self.engine) as session:
            account = session.exec(select(Account).where(Account.email == email)).one()
            return actor_of(session, account.id or 0)


def _from_the_feet(folder: Path) -> list[str]:
    """The SOP instance UIDs of an axial series, from the lowest slice on."""
    wanted = ("SOPInstanceUID", "ImagePositionPatient")
    headers = [dcmread(path, stop_before_pixels=True, specific_tags=list(wanted)) for path in folder.iterdir()]
    return [str(each.SOPInstanceUID) for each in sorted(headers, key=lambda each: float(each.ImagePositionPatient[2]))]


def main() -> int:
    arguments = _arguments()
    home = arguments.home or Path(tempfile.mkdtemp(prefix="whole-paper-"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        with started(home, browser, patients=arguments.patients, steps=arguments.steps, pile=arguments.pile) as made:
            made.pictures = arguments.pictures
            if arguments.go_on:
                made.open_collection("Overview")
            for name in list(PARTS)[list(PARTS).index(arguments.go_on or "collection"):]:
                with made.part(name):
                    PARTS[name](made)
    print(json.dumps(made.taken_s), f"{made.by_hand} levels placed by hand")
    return 0


PARTS: dict[str, Callable[[Paper], None]] = {
    "collection": Paper.begin_collection, "import": Paper.import_scans, "levels": Paper.confirm_levels,
    "regions": Paper.draw_regions, "plan": Paper.set_plan, "labels": Paper.label, "adjudication": Paper.adjudicate,
    "reference": Paper.lock_reference, "split": Paper.lock_split, "training": Paper.train,
    "evaluation": Paper.evaluate, "handover": Paper.hand_over, "study": Paper.lock_study, "reading": Paper.read,
    "unblinding": Paper.unblind, "dashboard": Paper.look,
}


@contextmanager
def started(
    home: Path, browser: Browser, *, patients: int, steps: int, kept: tuple[DiscLevel, ...] = tuple(DiscLevel),
    pile: Path | None = None, seed: int = SEED,
) -> Iterator[Paper]:
    """An installation of its own with its server, and a page of the browser in front of it.

    Args:
        steps: Of the training.
        kept: The levels that become cases; of the others the person says that the scan does not show them.
        pile: Simulated patients that are there already.
        seed: Of the patients, where they are not.
    """
    models, port = home / "models", free_port()
    if not models.exists():
        shutil.copytree(MODELS, models)
    if pile is None:
        pile = home / "pile"
        write_simulated(pile, patients=patients, seed=seed)
    environment = {
        "LSS_DATA": str(home / "data"), "DATABASE_URL": "", "LSS_IMAGES": "", "LSS_MODEL": "",
        "LSS_MODELS": str(models), "LSS_RUNS": str(home / "runs"), "LSS_IMPORT_FOLDER": str(pile),
    }
    settings = Settings.from_environment(environment)
    engine = open_database(settings.database_url)
    with launch(home / "log.txt", port=port, environment=environment) as server:
        try:
            context = browser.new_context(viewport={"width": 1280, "height": 1200})
            yield Paper(context.new_page(), f"http://127.0.0.1:{port}", engine, settings, pile, steps, kept)
            context.close()
        finally:
            server.terminate()
            engine.dispose()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--patients", type=int, default=30)
    parser.add_argument("--steps", type=int, default=60, help="of the training")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="screenshots for docs/tour.md")
    parser.add_argument("--pile", type=Path, metavar="FOLDER", help="simulated patients that are there already")
    parser.add_argument("--home", type=Path, metavar="FOLDER", help="where everything is kept (default a new folder)")
    parser.add_argument("--go-on", choices=list(PARTS), metavar="PART", help="in --home, where an earlier run stopped")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
