"""Intended use, how to read a grade, where it comes from."""

from __future__ import annotations

import streamlit as st

from ui import access

access.require(access.Permission.READ_ABOUT)

st.title("About Lumbar Stenosis Studio", anchor=False)
st.markdown(
    """
### Intended use
A research tool. It grades lumbar spinal stenosis on CT, 0 (normal) to 3 (severe), for the central canal and both
lateral recesses at each disc level, and shows where in the image the evidence for a grade lies. It is not a medical
device, and its output must not be used for diagnosis or for treatment decisions.

### The grades
| grade | central canal | lateral recess |
|---|---|---|
| 0 normal | space before the sac kept, sac convex, fat before and behind it | open, fat around the root |
| 1 mild | space before the sac lost or sac slightly flattened, fat behind it kept | narrowed, root in place |
| 2 moderate | sac clearly narrowed, little fat left | root moved or flattened, some space left |
| 3 severe | slit-like sac, no epidural fat | closed, root compressed |

Central canal after Lee et al., *Skeletal Radiol* 2011;40:1033; lateral recess after Bartynski and Lin, *AJNR*
2003;24:348; both adapted to CT. Left and right are the patient's: the patient's left is on the viewer's right.

### Limits
The shipped models were trained on simulated CT and on real scans whose canals were narrowed by software; no scan with
a clinical grade took part. The figures on their cards say on what they were measured, and none is clinical.

Beside a grade stand measurements and, as a range, the neighbouring grades that remain plausible: a set made to hold the
true grade of 90 % of *simulated* regions, which is a single grade where a version is right as often as that. A grade
carries a mark where it is less probable than all others together, where moving the box by a millimetre changes it,
where grade and measurement disagree, or where boxes lie as they seldom do (a recess more than 5 mm behind the other, a
canal more than 5 mm beside their middle). A region is not graded at all where metal, noise, the edge of the image or an
implausible box forbids it, or where it does not look like that region of a lumbar disc level.

A heat map shows which part of the picture moved the network's answer; it does not prove that the answer is right.

### The study behind it
Li KY, Weng JJ, Li HL, Ye HB, Xiang JW, Tian NF. Development of a Deep-Learning Model for Diagnosing Lumbar Spinal
Stenosis Based on CT Images. *Spine* 2024;49(12):884-891. doi 10.1097/BRS.0000000000004903.

### Software
The viewer is built on Cornerstone3D (MIT licence). Heat maps follow the grad-cam package (MIT licence).
"""
)
