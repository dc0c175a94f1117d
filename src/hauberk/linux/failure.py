"""What can go wrong below Python: each failure says what was attempted and what the operator can do about it."""

from __future__ import annotations

import errno
import os
from typing import Any


class LinuxFailure(Exception):
    """The kernel refused something the mesh needs; `hint` tells the operator what to do."""

    def __init__(self, message: str, hint: str = "", code: int = 0) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code  # errno, 0 where there is none


class LaunchFailure(LinuxFailure):
    """The launcher could not do what it was asked."""


class ProgramNotStarted(LaunchFailure):
    """The program never ran: `stage` is what failed before it could, `program` what was to be run, `code` the errno."""

    def __init__(self, program: str, stage: str, code: int, detail: str = "", hint: str = "") -> None:
        reason = os.strerror(code) if code else "refused"
        super().__init__(f"cannot run {program!r}: {detail + ': ' if detail else ''}{reason}", hint, code)
        self.program = program
        self.stage = stage
        self.detail = detail

    @property
    def program_missing(self) -> bool:
        """The program itself does not exist or is not executable: trying again changes nothing."""
        return self.stage == "exec"

    @property
    def exit_code(self) -> int | None:
        """What a shell ends with: 127 for a program that is not there, 126 for one that cannot be run; None if neither is it."""
        if not self.program_missing:
            return None
        # With a detail it is there, and it is its interpreter that is not.
        return 127 if self.code in (errno.ENOENT, errno.ENOTDIR) and not self.detail else 126


class NameTaken(LaunchFailure):
    """A process of that name exists already (perhaps one that has ended and was not forgotten)."""


class UnknownProcess(LaunchFailure):
    """No process of that name is known, or it no longer runs."""


class UnknownNetwork(LaunchFailure):
    """No network of that name exists."""


class LauncherRefused(LaunchFailure):
    """The launcher does not understand or does not permit the request."""


class LauncherGone(LaunchFailure):
    """Nothing answers on the launcher's socket: the mesh is not running, or just ended."""


_NAMED: dict[str, type[LaunchFailure]] = {
    kind.__name__: kind for kind in (NameTaken, UnknownProcess, UnknownNetwork, LauncherRefused, LaunchFailure)
}


def encode_failure(failure: LinuxFailure) -> dict[str, Any]:
    """The JSON form of a failure, for the other end of the launcher's socket."""
    document: dict[str, Any] = {"kind": type(failure).__name__, "message": str(failure), "hint": failure.hint, "code": failure.code}
    if isinstance(failure, ProgramNotStarted):
        document |= {"program": failure.program, "stage": failure.stage, "detail": failure.detail}
    return document


def decode_failure(document: dict[str, Any]) -> LaunchFailure:
    """The failure `encode_failure` wrote."""
    if document["kind"] == ProgramNotStarted.__name__:
        return ProgramNotStarted(document["program"], document["stage"], document["code"], document["detail"], document["hint"])
    return _NAMED.get(document["kind"], LaunchFailure)(document["message"], document["hint"], document["code"])
