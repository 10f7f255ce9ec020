"""Readers who grade cases of known truth, for tests of agreement."""

import numpy as np


def graded(cases, readers, *, seed=0, right=0.6, missing=0.0, per_patient=1):
    """Grades [case, reader] 0-3, NaN where missing, and the patient [case], whose cases are of one true grade."""
    rng = np.random.default_rng(seed)
    patient = np.arange(cases) // per_patient
    truth = rng.integers(0, 4, patient.max() + 1)[patient]
    step = np.where(rng.random((cases, readers)) < right, 0, rng.choice([-1, 1], (cases, readers)))
    grades = np.clip(truth[:, None] + step, 0, 3).astype(float)
    grades[rng.random((cases, readers)) < missing] = np.nan
    return grades, patient


def width(estimate):
    """Of its interval."""
    return estimate.high - estimate.low
