"""What a reader enters for one case, as a value: drafts hold any part of it, a submitted answer all that is asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lss_core.study.protocol import Protocol
from lss_core.vocabulary import Grade, Refusal, Region

LONGEST_COMMENT = 2000                          # characters
LONGEST_REASON = 200


@dataclass(frozen=True)
class RegionEntry:
    """One region: a grade with, where it is asked, a confidence from 0 to 100; or the reason why it is not gradable."""

    grade: int | None = None
    confidence: int | None = None
    not_gradable: str = ""

    def __post_init__(self) -> None:
        _check_whole("grade", self.grade, max(Grade))
        _check_whole("confidence", self.confidence, 100)
        _check_text("The reason of 'not gradable'", self.not_gradable, LONGEST_REASON)
        if self.not_gradable and (self.grade is not None or self.confidence is not None):
            raise Refusal("A region that is not gradable has neither a grade nor a confidence; clear one or the other.")

    @property
    def is_answered(self) -> bool:
        return self.grade is not None or bool(self.not_gradable.strip())


@dataclass(frozen=True)
class Entry:
    """One case. `image_quality` is empty where the image is good, else what is wrong with it."""

    regions: Mapping[Region, RegionEntry] = field(default_factory=dict)
    image_quality: str = ""
    comment: str = ""

    def __post_init__(self) -> None:
        _check_text("The image quality", self.image_quality, LONGEST_REASON)
        _check_text("The comment", self.comment, LONGEST_COMMENT)

    @property
    def canonical(self) -> str:
        """JSON with sorted keys and no spaces: equal entries give equal text, which `parse` reads."""
        regions = {
            region.value: {"grade": each.grade, "confidence": each.confidence, "not_gradable": each.not_gradable}
            for region, each in self.regions.items()
        }
        content = {"regions": regions, "image_quality": self.image_quality, "comment": self.comment}
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def parse(cls, text: str) -> Entry:
        """The entry of JSON `{"regions": {"central_canal": {"grade": 2, "confidence": 80, "not_gradable": ""}, ...},
        "image_quality": "", "comment": ""}`; whatever is not there yet may be left out. "" is an empty entry.

        Raises:
            Refusal: not such JSON, an unknown field, or a value out of range.
        """
        try:
            return _entry(json.loads(text or "{}"))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise Refusal(f"This is not an answer that this software can read: {error}.") from error

    def check_complete(self, protocol: Protocol) -> None:
        """Raise Refusal unless everything that the protocol asks is answered, and nothing else."""
        for region in self.regions:
            if region not in protocol.regions:
                raise Refusal(f"{region.label} is not asked in this study; leave it out.")
        for region in protocol.regions:
            _check_region(region, self.regions.get(region, RegionEntry()), asks_confidence=protocol.ask_confidence)


def _entry(values: dict[str, Any]) -> Entry:
    regions = {Region(name): RegionEntry(**each) for name, each in values.pop("regions", {}).items()}
    return Entry(regions=regions, **values)


def _check_region(region: Region, entry: RegionEntry, *, asks_confidence: bool) -> None:
    if not entry.is_answered:
        raise Refusal(f"{region.label} has no answer yet; give a grade, or say why it is not gradable.")
    if asks_confidence and entry.grade is not None and entry.confidence is None:
        raise Refusal(f"{region.label} has a grade without confidence; give one from 0 to 100.")
    if not asks_confidence and entry.confidence is not None:
        raise Refusal(f"{region.label} has a confidence, which is not asked in this study; leave it out.")


def _check_whole(what: str, value: object, largest: int) -> None:
    if value is not None and not (type(value) in (int, Grade) and 0 <= value <= largest):   # type: ignore[operator]
        raise Refusal(f"The {what} {value!r} is not a whole number from 0 to {int(largest)}.")


def _check_text(what: str, value: object, longest: int) -> None:
    """Also what no database stores: the zero character and halves of surrogate pairs."""
    if not isinstance(value, str) or len(value) > longest:
        raise Refusal(f"{what} must be a text of at most {longest} characters.")
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise Refusal(f"{what} holds a character that cannot be stored; retype it.")
