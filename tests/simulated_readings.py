"""Tables of a study whose readers are those of the demo: measures drawn at random, read by `demo.readers`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lss_core.demo.readers import READERS, DemoReader, SeenRegion, read_case, severity
from lss_core.study.readings import StudyTables, check_tables
from lss_core.vocabulary import DiscLevel, Region, grade_of_measure, measure_of

MEASURES = {Region.CENTRAL_CANAL: (40.0, 190.0)}       # mm2; lateral recesses in mm
RECESS = (1.0, 7.0)
VERSIONS = {"v1": 0.35, "v2": 0.22}                     # standard deviation of the model's error, in grades


def simulated_tables(
    *, patients: int = 12, levels: int = 2, readers: tuple[DemoReader, ...] = READERS,
    arms: tuple[str, ...] = ("unaided", "aided"), repeats: int = 4, versions: tuple[str, ...] = ("v1", "v2"),
    seed: int = 0, missing: frozenset[tuple[str, str]] = frozenset(),
) -> StudyTables:
    """Checked tables.

    Args:
        arms: A session each, in this order for odd readers and in the other for even ones.
        missing: (reader, case) that were not read.
    """
    return check_tables(*simulated_frames(
        patients=patients, levels=levels, readers=readers, arms=arms, repeats=repeats, versions=versions, seed=seed,
        missing=missing,
    ))


def simulated_frames(
    *, patients: int = 12, levels: int = 2, readers: tuple[DemoReader, ...] = READERS,
    arms: tuple[str, ...] = ("unaided", "aided"), repeats: int = 4, versions: tuple[str, ...] = ("v1", "v2"),
    seed: int = 0, missing: frozenset[tuple[str, str]] = frozenset(),
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame | None]:
    """Readings, reference and model as tables of texts, as `check_tables` takes them."""
    rng = np.random.default_rng(seed)
    cases = [
        {"patient": f"P{p:03}", "case": str(p * levels + k + 1), "level": list(DiscLevel)[k].value,
         "measures": {region: float(rng.uniform(*MEASURES.get(region, RECESS))) for region in Region}}
        for p in range(patients) for k in range(levels)
    ]
    model = [row for case in cases for version in versions for row in _model_rows(case, version, rng)]
    reference = [
        {"patient": case["patient"], "case": case["case"], "region": region.value,
         "grade": str(int(grade_of_measure(measure_of(region), measure)))}
        for case in cases for region, measure in case["measures"].items()
    ]
    shown = {(row["case"], row["region"]): row["expected"] for row in model if row["version"] == versions[0]}
    readings = [row for reader in readers for row in _reader_rows(reader, cases, arms, repeats, shown, missing, seed)]
    table = pd.DataFrame(model).drop(columns="expected").astype(str) if model else None
    return pd.DataFrame(readings).astype(str), pd.DataFrame(reference), table


def _model_rows(case, version, rng):
    for region, measure in case["measures"].items():
        expected = severity(region, measure) + rng.normal(0.0, VERSIONS[version])
        weights = np.exp(-((np.arange(4) - expected) ** 2) / (2 * 0.45**2))
        p = np.round(weights / weights.sum(), 6)
        yield {"version": version, "case": case["case"], "region": region.value, "grade": int(p.argmax()),
               **{f"p{k}": each for k, each in enumerate(p)}, "expected": float((p * np.arange(4)).sum())}


def _reader_rows(reader, cases, arms, repeats, shown, missing, seed):
    order = arms if reader.number % 2 else arms[::-1]
    for session, arm in enumerate(order, 1):
        places = np.random.default_rng([seed, reader.number, session]).permutation(len(cases))
        queue = [(cases[k], False) for k in places] + [(cases[k], True) for k in places[:repeats]]
        for position, (case, again) in enumerate(queue, 1):
            if (f"R{reader.number:02}", case["case"]) in missing:
                continue
            seen = tuple(
                SeenRegion(region, measure, shown.get((case["case"], region.value)) if arm == "aided" else None)
                for region, measure in case["measures"].items()
            )
            given = read_case(reader, seen, case_seed=seed * 100_000 + int(case["case"]), position=position,
                              showing=2 * session + again, total=len(queue))
            for region, answer in given.regions.items():
                yield {
                    "reader": f"R{reader.number:02}", "experience": reader.level, "patient": case["patient"],
                    "case": case["case"], "level": case["level"], "region": region.value, "arm": arm,
                    "session": session, "position": position, "is_repeat": "1" if again else "0",
                    "grade": "" if answer.grade is None else int(answer.grade), "confidence": answer.confidence,
                    "duration_s": round(given.duration_s, 3), "image_quality": given.image_quality,
                }
