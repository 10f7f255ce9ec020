"""Asking for a scan: files, a folder, a picture or a simulated case, read into a Volume."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from lss_core.imaging.dicom import ScanIndex, best_series, find_series, read_picture, read_series
from lss_core.imaging.volume import Volume
from lss_core.simulation.series import DEMO_SEED, simulate_volume
from lss_core.vocabulary import Refusal
from ui import cases, versions_menu
from ui.access import Visitor
from ui.wording import plain

NAMED_AT_MOST = 5                               # files named for one reason; the rest are counted
PICTURES = (".png", ".jpg", ".jpeg")
READING_SHARE = 0.3                              # of the time until the grades are there
Progress = Callable[[float], None]            # with the share that is read, 0..1


@dataclass(frozen=True)
class ScanRequest:
    """A scan the user asked for, and how to read it. `read` raises Refusal."""

    read: Callable[[Progress], Volume]
    doing: str = "Reading the images …"


@dataclass(frozen=True)
class SeriesChoice:
    """What an upload holds, in words that can be shown."""

    names: dict[int, str]                       # of each series that can be graded, by its place in the index
    best: int                                   # the place of the one to propose
    left_out: tuple[str, ...]                   # a sentence each


def open_asked_scan(visitor: Visitor) -> None:
    """Ask for a scan; once there is one, read and grade it and make it this tab's open case.

    Raises:
        Refusal: it cannot be read or graded. An open case stays open, and the page stays usable.
    """
    version = versions_menu.choose()
    request = _ask()
    if request is None:
        if "refused" in st.session_state:
            raise Refusal(st.session_state["refused"])
        return
    st.session_state.pop("refused", None)
    try:
        if version is None:
            raise Refusal(versions_menu.NONE_CHOSEN)
        _open(request, visitor, version=version)
    except Refusal as refusal:
        st.session_state["refused"] = str(refusal)
        raise
    st.rerun()


def _open(request: ScanRequest, visitor: Visitor, *, version: str) -> None:
    bar = st.progress(0.0, text=request.doing)
    start_s = time.perf_counter()

    def reading(share: float) -> None:
        bar.progress(READING_SHARE * min(share, 1.0), text=request.doing)

    volume = request.read(reading)
    read_s = time.perf_counter() - start_s

    def grading(doing: str, share: float) -> None:
        bar.progress(READING_SHARE + (1 - READING_SHARE) * min(share, 1.0), text=f"{doing} …")

    cases.open_case(volume, visitor, version=version, read_s=read_s, progress=grading)
    bar.empty()


def _ask() -> ScanRequest | None:
    """Show the ways to give a scan; return the one just asked for, once."""
    files_tab, folder_tab = st.tabs(["Files or ZIP", "Folder"])
    with files_tab:
        files = st.file_uploader(
            "DICOM files, a ZIP, a DICOMDIR with its files, NIfTI, or one axial PNG or JPEG",
            accept_multiple_files=True, key="files",
        )
    with folder_tab:
        folder = st.file_uploader(
            "A folder with its subfolders", accept_multiple_files="directory", key="folder"
        )
    simulated = st.button(
        "Try a simulated case", icon=":material/experiment:",
        help="A lumbar CT made by the studio's generator: no patient, to see how the page works.",
    )
    if simulated:
        st.session_state["simulated"] = st.session_state.get("simulated", -1) + 1
        seed = DEMO_SEED + st.session_state["simulated"]
        return ScanRequest(lambda _: simulate_volume(seed), "Simulating a patient …")
    return _ask_about_upload([*(files or []), *(folder or [])])


def _ask_about_upload(files: Sequence[UploadedFile]) -> ScanRequest | None:
    if not files:
        st.session_state.pop("refused", None)
        return None
    if len(files) == 1 and files[0].name.lower().endswith(PICTURES):
        return _ask_about_picture(files[0])
    upload = tuple(file.file_id for file in files)
    choice = _series_in(files, upload)
    _show_left_out(choice.left_out)
    if len(choice.names) == 1:
        chosen = choice.best
        st.caption(f"Series found: {plain(choice.names[chosen])}")
        asked = st.session_state.get("opened_upload") != upload or st.button("Grade this series again")
    else:
        chosen = st.radio(
            "Series found", list(choice.names), index=list(choice.names).index(choice.best),
            format_func=lambda place: plain(choice.names[place]), key=f"series-{upload[0]}",
        )
        asked = st.button("Grade this series", type="primary")
    if not asked:
        return None
    st.session_state["opened_upload"] = upload
    return ScanRequest(lambda progress: _read_upload(files, chosen, progress))


def _ask_about_picture(file: UploadedFile) -> ScanRequest | None:
    st.info(
        "A picture has no Hounsfield units and only one slice: its grades deserve lower confidence. "
        "It must be one axial slice, the patient's right on the left side of the picture."
    )
    spacing_mm = st.number_input(
        "Pixel spacing (mm)", min_value=0.05, max_value=5.0, value=None, step=0.01, format="%.3f",
        placeholder="for example 0.40", help="The distance between the centres of two neighbouring pixels.",
    )
    if not st.button("Grade this picture", type="primary", disabled=spacing_mm is None) or spacing_mm is None:
        return None

    def read(_: Progress) -> Volume:
        with unpacked([file]) as folder:
            return read_picture(_paths(folder)[0], pixel_spacing_mm=(spacing_mm, spacing_mm))

    return ScanRequest(read)


def _series_in(files: Sequence[UploadedFile], upload: tuple[str, ...]) -> SeriesChoice:
    """The series of an upload, looked for once."""
    if st.session_state.get("series_found_in") != upload:
        with st.spinner("Looking for series …"), unpacked(files) as folder:
            st.session_state["series_found"] = _look_for_series(folder)
        st.session_state["series_found_in"] = upload
    found: SeriesChoice | str = st.session_state["series_found"]
    if isinstance(found, str):
        raise Refusal(found)
    return found


def _look_for_series(folder: Path) -> SeriesChoice | str:
    """What a folder holds, or the sentence that refuses it."""
    try:
        index = find_series(_paths(folder))
        best = best_series(index)
    except Refusal as refusal:
        return str(refusal)
    return SeriesChoice(
        names={place: series.description for place, series in enumerate(index.series) if series.gradable},
        best=index.series.index(best),
        left_out=tuple(_left_out(index)),
    )


def _left_out(index: ScanIndex) -> Iterator[str]:
    """A sentence for each series that cannot be graded, and for each reason why files were left out."""
    for series in index.series:
        if not series.gradable:
            yield f"{series.description}: {series.reason}"
    by_reason: dict[str, list[str]] = {}
    for left in index.left_out:
        by_reason.setdefault(left.reason, []).append(left.name)
    for reason, names in by_reason.items():
        more = f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else ""
        yield f"{', '.join(names[:NAMED_AT_MOST])}{more}: {reason}"


def _show_left_out(sentences: Sequence[str]) -> None:
    if sentences:
        st.markdown("Left out:\n" + "\n".join(f"- {plain(sentence)}" for sentence in sentences))


def _read_upload(files: Sequence[UploadedFile], chosen: int, progress: Progress) -> Volume:
    with unpacked(files) as folder:
        index = find_series(_paths(folder))
        return read_series(index.series[chosen], progress=progress)


@contextmanager
def unpacked(files: Sequence[UploadedFile]) -> Iterator[Path]:
    """The uploaded files in a temporary folder, removed with everything in it at the end."""
    with tempfile.TemporaryDirectory(prefix="lss-") as name:
        folder = Path(name)
        for number, file in enumerate(files):
            path = _free_path(folder, _safe_name(file.name, number), number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.getbuffer())
        yield folder


def _safe_name(name: str, number: int) -> Path:
    """A relative path that keeps an upload's folders (a DICOMDIR refers to them) and stays inside its folder."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    short = [part.replace("\0", "").encode(errors="replace")[-200:].decode(errors="ignore") for part in parts[-8:]]
    return Path(*[part for part in short if part not in ("", "..", ".")] or [f"file-{number}"])


def _free_path(folder: Path, name: Path, number: int) -> Path:
    """Where to write `name`: in a folder of its own where another file has taken its place."""
    path = folder / name
    taken = path.exists() or any(parent.is_file() for parent in path.parents)
    return folder / f"upload-{number}" / name if taken else path


def _paths(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
