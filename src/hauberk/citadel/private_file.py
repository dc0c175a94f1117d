"""Files with secrets: read only if nobody else could have read or changed them, written so that no crash leaves half of one."""

import os
import secrets
import stat
from pathlib import Path

from hauberk.citadel.key_store import KeyAbsent, KeyUnreadable

TEMPORARY = ".new-"
# Beside the keys: which label they have in a token. It is there if a token was ever used.
TOKEN_TAG_FILE = "token-tag"  # noqa: S105 - the name of a file without a secret
_LARGEST = 1 << 20  # bytes; a device or a log given by mistake is not read to its end


def read_private(path: Path) -> bytes:
    """The content of `path`; KeyAbsent if there is no such file, KeyUnreadable if others may read or change it."""
    try:
        # What is judged is what is read: the descriptor, not whatever has the name a moment later.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise KeyAbsent(path, "it does not exist", "restore it from a backup, or correct the path") from None
    except OSError as exc:
        raise KeyUnreadable(path, exc.strerror or "it cannot be read", "make it readable for the mesh's user alone") from exc
    with os.fdopen(descriptor, "rb") as file:
        _refuse_exposed(path, os.fstat(descriptor))
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise KeyUnreadable(path, "it is far too large for a key", "correct the path")
    return content


def _refuse_exposed(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyUnreadable(path, "it is not an ordinary file", "correct the path")
    # Root could read it anyway; in a user namespace root's files appear as nobody's.
    if status.st_uid not in {os.geteuid(), 0} and not _is_unmapped(status.st_uid):
        raise KeyUnreadable(path, f"it belongs to another user (uid {status.st_uid})", f"run `chown {os.geteuid()} {path}` as root")
    if status.st_mode & 0o077:
        mode = f"others may use it (mode {stat.S_IMODE(status.st_mode):04o})"
        raise KeyUnreadable(path, mode, f"run `chmod 600 {path}`, and replace the key if somebody may have read it")


def _is_unmapped(uid: int) -> bool:
    return uid == 65534 and Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]


def write_private(path: Path, content: bytes) -> None:
    """`path` has this content and mode 0600, or, after a crash, what it had before."""
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Names made or removed in `directory` survive a power cut: a key that was acknowledged must be there."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
