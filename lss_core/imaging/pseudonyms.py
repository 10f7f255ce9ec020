"""The site's key, and what is made with it: pseudonyms, digests, UIDs and date shifts that only the site can undo.

Everything is an HMAC-SHA-256 (RFC 2104) under one random key, each purpose under a label of its own. Without the key
nobody can test a guessed name or number against a pseudonym. The list that leads back from a pseudonym to the patient
is encrypted with the same key (AES-256-GCM) and lies beside it; neither is part of a backup, an export or a log.
"""

from __future__ import annotations

import base64
import fcntl
import hmac
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydicom.uid import UID

from lss_core.vocabulary import Refusal

FOLDER, KEY, LIST = "site", "site.key", "patients.list"     # in the data folder
KEY_BYTES, NONCE_BYTES = 32, 12
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"                # Crockford's 32: none looks like another
LETTERS_OF_A_NAME = 8                                       # 40 bits
LONGEST_SHIFT_DAYS = 365
READ_BY_OTHERS = stat.S_IRWXG | stat.S_IRWXO
LIST_FORMAT = b"lumbar-stenosis-patients 1"


@dataclass(frozen=True)
class SiteKeys:
    """The key of this installation. It is never shown: not in a representation, an error or a log."""

    folder: Path                                # where the key and the list lie
    _key: bytes = field(repr=False)

    @classmethod
    def of(cls, data: Path) -> SiteKeys:
        """The key in the data folder, made on first use and readable by its owner alone.

        Raises:
            Refusal: the key is lost while a list made with it is there, others may read it, or it is no key.
        """
        folder = data / FOLDER
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (folder / KEY).exists():
            if (folder / LIST).exists():
                raise Refusal(f"The site's key {folder / KEY} is gone, but the list of patients made with it is there; "
                              "bring the key back from the site's own safe copy.")
            _make_key(folder)
        return cls(folder, _read_key(folder / KEY))

    def digest(self, purpose: str, *parts: str) -> str:
        """64 hexadecimal digits for these parts; the same parts give others for another purpose."""
        return self._mac(purpose, *parts).hex()

    def name(self, kind: str, *parts: str) -> str:
        """A short name such as P-7F3K2M9Q; `kind` is its first letter."""
        number = int.from_bytes(self._mac(f"name {kind}", *parts)[:8], "big")
        return f"{kind}-" + "".join(LETTERS[(number >> 5 * place) & 31] for place in range(LETTERS_OF_A_NAME))

    def uid(self, uid: str) -> UID:
        """The UID that stands for another one, always the same (PS3.5 B.2: 2.25 and 128 bits)."""
        return UID(f"2.25.{int.from_bytes(self._mac('uid', uid)[:16], 'big')}")

    def shift_days(self, patient: str) -> int:
        """How many days, 1 to 365, a patient's dates go back; intervals between them stay."""
        return 1 + int.from_bytes(self._mac("dates", patient)[:8], "big") % LONGEST_SHIFT_DAYS

    def patient_list(self) -> PatientList:
        """The list that leads back from a pseudonym."""
        return PatientList(self.folder / LIST, AESGCM(self._mac("list")))

    def _mac(self, purpose: str, *parts: str) -> bytes:
        content = json.dumps([purpose, *parts], ensure_ascii=True).encode()   # no two lists of parts are written alike
        return hmac.new(self._key, content, sha256).digest()


class PatientList:
    """Who is behind each pseudonym, an encrypted line each. A line is on the disk before it counts; none is changed."""

    def __init__(self, file: Path, cipher: AESGCM) -> None:
        self._file, self._cipher = file, cipher
        self._known: set[str] | None = None

    def add(self, name: str, who: Mapping[str, str]) -> None:
        """Keep who is behind a name, once."""
        if self._known is None:
            self._known = {each for each, _ in self._entries()}
        if name in self._known:
            return
        nonce = secrets.token_bytes(NONCE_BYTES)
        plain = json.dumps([name, dict(who)]).encode()
        line = base64.b64encode(nonce + self._cipher.encrypt(nonce, plain, LIST_FORMAT)) + b"\n"
        with _appending(self._file) as descriptor:
            os.write(descriptor, line)
            os.fsync(descriptor)
        self._known.add(name)

    def who(self, name: str) -> dict[str, str]:
        """What was kept under a name.

        Raises:
            Refusal: nothing was, or the list was altered.
        """
        found = next((who for each, who in self._entries() if each == name), None)
        if found is None:
            raise Refusal(f"{name} is not on this site's list; check how it is written, and that this is the "
                          "installation that imported it.")
        return found

    def _entries(self) -> Iterator[tuple[str, dict[str, str]]]:
        if not self._file.exists():
            return
        with self._file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.endswith(b"\n"):            # what was being written when the process died counts as not there
                    yield self._opened(line, number)

    def _opened(self, line: bytes, number: int) -> tuple[str, dict[str, str]]:
        try:
            content = base64.b64decode(line, validate=False)
            name, who = json.loads(self._cipher.decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], LIST_FORMAT))
        except (InvalidTag, ValueError) as error:
            raise Refusal(f"Line {number} of {self._file} does not open with this site's key; bring both back from the "
                          "site's own safe copy.") from error
        return name, who


@contextmanager
def _appending(file: Path) -> Iterator[int]:
    """The file opened to append to, for this process alone, without a half-written last line."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.ftruncate(descriptor, file.read_bytes().rfind(b"\n") + 1)
        yield descriptor
    finally:
        os.close(descriptor)


def _make_key(folder: Path) -> None:
    """Write a new key, whole or not at all; of two processes that do so at once, one wins."""
    part = folder / f"{KEY}.{secrets.token_hex(4)}"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(KEY_BYTES).hex().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(part, folder / KEY)
    except FileExistsError:
        pass
    finally:
        part.unlink()


def _read_key(file: Path) -> bytes:
    if file.stat().st_mode & READ_BY_OTHERS:
        raise Refusal(f"Others than its owner may read the site's key; run `chmod 600 {file}`.")
    try:
        key = bytes.fromhex(file.read_text("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise Refusal(f"{file} holds no key of {KEY_BYTES} bytes; bring it back from the site's own safe copy.")
    return key
