"""The de-identification table: what happens to each attribute, as one file that people review.

`confidentiality.csv` holds every row of the basic application level confidentiality profile (DICOM PS3.15 table E.1-1,
edition 2024e) with the standard's own code beside what is done here, and the attributes of a CT image that stay. The
last row is the rule: what the table does not name is removed. So an attribute that is new, private or misused can only
be lost, never let through.
"""

from __future__ import annotations

import csv
import re
from dataclasses import astuple, dataclass, fields
from enum import StrEnum
from functools import cache
from io import StringIO
from pathlib import Path

FILE = Path(__file__).with_name("confidentiality.csv")
DATA_SET = 0x00080000               # what is below is written anew: file meta information
ONE_TAG = re.compile(r"\(([0-9A-F]{4}),([0-9A-F]{4})\)")


class Action(StrEnum):
    """What happens to an attribute, by the letters of PS3.15 table E.1-1a."""

    REPLACE = "D"           # by a pseudonym
    EMPTY = "Z"
    REMOVE = "X"
    KEEP = "K"              # where its value is one of the known ones
    CLEAN = "C"             # what of its value passes the check named in `how`
    UID = "U"               # replaced by one made with the site's key, consistently

    @property
    def meaning(self) -> str:
        return {
            Action.REPLACE: "replaced by the pseudonym", Action.EMPTY: "emptied", Action.REMOVE: "removed",
            Action.KEEP: "kept, if its value is a known one", Action.CLEAN: "kept as far as it passes the check",
            Action.UID: "replaced by a keyed UID",
        }[self]


@dataclass(frozen=True)
class Rule:
    """One row of the table."""

    tag: str                # (GGGG,EEEE) in hexadecimal; repeating groups with X, as the standard writes them
    attribute: str
    profile: str            # the basic profile's code in the standard, - where it names no such attribute
    modified_dates: str     # the code of the option: longitudinal temporal information with modified dates
    characteristics: str    # the code of the option: patient characteristics
    action: Action          # what is done here
    how: str                # the check that a kept value must pass
    reason: str

    @property
    def number(self) -> int | None:
        """The tag as a number; None for rows that stand for many."""
        found = ONE_TAG.fullmatch(self.tag)
        return int(found[1] + found[2], 16) if found else None


@cache
def read_table() -> tuple[Rule, ...]:
    """All rows, in the order of their tags; the last stands for all that is not named."""
    with FILE.open(newline="", encoding="utf-8") as rows:
        return tuple(Rule(**{**row, "action": Action(row["action"])}) for row in csv.DictReader(rows))  # type: ignore[arg-type]


@cache
def rules_that_leave_something() -> dict[int, Rule]:
    """Tag to rule, for the attributes of a data set of which anything stays; every other is removed."""
    return {rule.number: rule for rule in read_table()
            if rule.action is not Action.REMOVE and rule.number is not None and rule.number >= DATA_SET}


def as_csv() -> str:
    """The table as CSV, with what each letter means."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(each.name for each in fields(Rule)), "meaning"])
    writer.writerows([*astuple(rule), rule.action.meaning] for rule in read_table())
    return text.getvalue()


def as_markdown() -> str:
    """The table as Markdown."""
    names = ("Tag", "Attribute", "PS3.15", "Modified dates", "Characteristics", "Here", "Check", "Reason")
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    lines += [f"| {' | '.join(str(value) for value in astuple(rule))} |" for rule in read_table()]
    meanings = [f"- {action.value}: {action.meaning}" for action in Action]
    return "\n".join([*lines, "", "What is done here:", "", *meanings])
