"""A real Orthanc: a PACS on the loopback address, with DICOMweb, which starts empty and ends with the tests."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

AE_TITLE = "ORTHANC"
PLUGINS = (Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so"), Path("/usr/lib/orthanc/libOrthancDicomWeb.so"))
START_S = 60
# The shell holds the server and reads its standard input, which closes with the tests, however they end.
GUARD = 'folder=$1; shift; "$@" & server=$!; cat > /dev/null; kill -KILL $server; wait $server; rm -rf "$folder"'


@dataclass(frozen=True)
class Orthanc:
    """Where a running Orthanc is reached."""

    http_port: int
    dicom_port: int                     # of C-STORE, C-FIND and C-ECHO, under AE_TITLE

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def dicomweb_url(self) -> str:
        """Of QIDO, WADO and STOW."""
        return f"{self.url}/dicom-web"

    def ask(self, path: str, *, method: str = "GET") -> bytes:
        """The answer of Orthanc's own interface, as `/instances`."""
        request = urllib.request.Request(f"{self.url}{path}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def empty(self) -> None:
        """Remove everything that is stored."""
        for patient in json.loads(self.ask("/patients")):
            self.ask(f"/patients/{patient}", method="DELETE")


@pytest.fixture(scope="session")
def running_orthanc() -> Iterator[Orthanc]:
    with started_orthanc() as server:
        yield server


@pytest.fixture
def orthanc(running_orthanc: Orthanc) -> Orthanc:
    """An Orthanc that holds nothing."""
    running_orthanc.empty()
    return running_orthanc


@contextmanager
def started_orthanc() -> Iterator[Orthanc]:
    """A server of one's own; leaving the block stops it and removes what it stored. Skips where it is not installed."""
    program, plugin = shutil.which("Orthanc"), next((path for path in PLUGINS if path.exists()), None)
    if program is None or plugin is None:
        pytest.skip("Orthanc with its DICOMweb plugin is not installed (Debian: apt-get install orthanc-dicomweb)")
    folder = Path(tempfile.mkdtemp(prefix="lss-orthanc-"))
    server = Orthanc(*_free_ports())
    (folder / "orthanc.json").write_text(json.dumps(_configuration(server, folder, plugin)))
    with (folder / "log").open("wb") as log:
        shell = subprocess.Popen(
            ["sh", "-c", GUARD, "sh", folder, program, folder / "orthanc.json"],
            stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder,
        )
    try:
        _wait_for(server, folder / "log")
        yield server
    finally:
        shell.communicate(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def _configuration(server: Orthanc, folder: Path, plugin: Path) -> dict[str, object]:
    """What differs from Orthanc's defaults: loopback only, no account, everything in one folder."""
    return {
        "Name": "LSS tests", "StorageDirectory": str(folder / "stored"), "IndexDirectory": str(folder / "stored"),
        "HttpPort": server.http_port, "DicomPort": server.dicom_port, "DicomAet": AE_TITLE,
        "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "DicomCheckCalledAet": False,
        "DicomAlwaysAllowStore": True, "DicomAlwaysAllowFind": True, "DicomAlwaysAllowMove": True,
        "DefaultEncoding": "Utf8",             # of its answers; objects stay as they were stored
        "Plugins": [str(plugin)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def _wait_for(server: Orthanc, log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        try:
            server.ask("/system")
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"Orthanc did not start:\n{log.read_text(errors='replace')}")
