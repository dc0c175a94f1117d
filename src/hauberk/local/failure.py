"""Why a mesh cannot be brought up or down: each says what to do in `hint`."""

from __future__ import annotations


class LocalFailure(Exception):
    """Something about this machine or this mesh; `hint` tells the operator what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class MeshNotRunning(LocalFailure):
    """There is no mesh of that name on this machine."""

    def __init__(self, mesh: str) -> None:
        super().__init__(f"the mesh {mesh!r} is not running", "start it with `hauberk up`")


class AlreadyRunning(LocalFailure):
    """A mesh of that name runs already, and not as it was asked for."""


class StateNotWritable(LocalFailure):
    """The state or run directory cannot be used."""


class StateIncompatible(LocalFailure):
    """The state directory was written by a version of Hauberk that keeps it differently."""


class NamespacesNotPermitted(LocalFailure):
    """The machine does not let this user create the namespaces a mesh consists of."""


class EnvoyMissing(LocalFailure):
    """There is no Envoy that can be run."""


class StartFailed(LocalFailure):
    """The mesh ended, or one of its parts keeps ending, before it was ready."""


class NotReadyInTime(LocalFailure):
    """The mesh runs but was not ready within the time given."""


class StillRunning(LocalFailure):
    """The mesh could not be ended."""
