"""Which patient goes to which part: pure, drawn from a seed alone, and with the grades mixed alike.

Iterative stratification after Sechidis, Tsoumakas and Vlahavas (ECML PKDD 2011, LNCS 6913:145-158), whole patients at a
time. What is mixed are the counts of each grade, canal and recess apart, "not gradable" among them. Again and again the
rarest grade that is left is taken, and of the patients who have it one by lot; this patient goes to the part that it
brings nearest to its share of all grades, by the chi-square distance (in the paper to the part that lacks that one
grade most; taking all into account came nearer). Each part takes as many patients as its share rounds to. Lots are
SHA-256 of seed and patient: the same on every machine and in every version of Python.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction


def draw_parts(
    patients: Mapping[str, Counter], shares: Sequence[float], *, seed: int, taken: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Patient to the number of a part.

    Args:
        patients: Each with the counts of what is to be mixed.
        shares: Of the parts; they add up to 1.
        taken: Patients whose part is fixed; the others make up for it.
    """
    taken = dict(taken or {})
    places = _places(len(patients), shares, Counter(taken.values()))
    total = sum(patients.values(), Counter())
    lacking = [Counter({cell: share * count for cell, count in total.items()}) for share in shares]
    for patient, part in taken.items():
        lacking[part].subtract(patients[patient])
    left = sorted((each for each in patients if each not in taken), key=lambda patient: _lot(seed, patient))
    remaining = sum((patients[each] for each in left), Counter())
    drawn = dict(taken)
    while left:
        patient = _next(left, patients, remaining)
        gains = {part: _gain(patients[patient], lacking[part], shares[part], total)
                 for part in range(len(shares)) if places[part]}
        part = max(gains, key=lambda each: (gains[each], places[each], _lot(seed, patient, each)))
        drawn[patient] = part
        places[part] -= 1
        lacking[part].subtract(patients[patient])
        remaining.subtract(patients[patient])
        left.remove(patient)
    return drawn


def rounded(number: int, shares: Sequence[float]) -> list[int]:
    """A number divided by shares into whole ones that add up to it: the largest remainders are rounded up.

    Example:
        >>> rounded(100, (0.623, 0.229, 0.148))
        [62, 23, 15]
    """
    exact = [number * Fraction(share).limit_denominator(10**6) for share in shares]
    whole = [int(each) for each in exact]
    by_remainder = sorted(range(len(shares)), key=lambda part: (whole[part] - exact[part], part))
    for part in by_remainder[: number - sum(whole)]:
        whole[part] += 1
    return whole


def _places(number: int, shares: Sequence[float], taken: Counter) -> list[int]:
    """How many patients each part still takes. Where a part has more than its share already, the others give way."""
    places = [max(0, wanted - taken[part]) for part, wanted in enumerate(rounded(number, shares))]
    while sum(places) > number - taken.total():
        places[places.index(max(places))] -= 1
    return places


def _gain(mix: Counter, lacking: Counter, share: float, total: Counter) -> float:
    """How much nearer a patient brings a part to its share of everything: the fall of its chi-square distance."""
    return sum((2 * count * lacking[cell] - count**2) / (share * total[cell]) for cell, count in mix.items())


def _next(left: Sequence[str], patients: Mapping[str, Counter], remaining: Counter) -> str:
    """The patient to be placed: the first by lot of those who have some of the rarest cell that is left."""
    cells = [cell for cell, count in remaining.items() if count > 0]
    if not cells:
        return left[0]
    cell = min(cells, key=lambda each: (remaining[each], str(each)))
    return next(each for each in left if patients[each][cell])


def _lot(*parts: object) -> str:
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()
