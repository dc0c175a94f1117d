"""What the API needs of the other services of the control plane. Who starts them fits them together."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from hauberk.api.problem import Problem

Json = dict[str, Any]


class PushResult(Protocol):
    """What became of a revision: how many proxies it concerned, how many acknowledged it, who has not answered yet, what was refused."""

    @property
    def affected(self) -> int: ...

    @property
    def acknowledged(self) -> int: ...

    @property
    def pending(self) -> tuple[str, ...]: ...

    @property
    def problems(self) -> tuple[Problem, ...]: ...


class Pilot(Protocol):
    """Pushes configuration to the proxies."""

    @property
    def ready(self) -> bool:
        """Whether proxies can be served."""

    @property
    def problems(self) -> Sequence[Problem]:
        """What could not be translated, and what proxies refused."""

    async def wait(self, revision: int, timeout: float) -> PushResult:
        """Returns when every proxy that `revision` concerns has acknowledged or refused it, or when `timeout` seconds are over."""

    def proxies(self) -> Sequence[Json]:
        """The proxies as `status -o json` shows them."""


class Names(Protocol):
    """The table of names that the agents answer from."""

    def table(self) -> Mapping[str, Any]:
        """The table as it is now."""

    def tables(self) -> AsyncIterator[Mapping[str, Any]]:
        """The table as it is now, and again whenever it has changed."""


class Authority(Protocol):
    """Signs certificates."""

    async def issue(self, *, csr: str, namespace: str, name: str, uid: str, node: str) -> Mapping[str, Any]:
        """A certificate for the pod's identity; PermissionError if it is not to have one, ValueError if the CSR is none."""

    def trust_bundle(self) -> Mapping[str, Any]:
        """Whom members of the mesh trust."""

    def trust_bundles(self) -> AsyncIterator[Mapping[str, Any]]:
        """The same, and again whenever it has changed."""


class Revoker(Protocol):
    """Revokes. What it is given is one of `pod` (namespace/name), `serial` and `identity`; the others are empty.

    ValueError: it is none; LookupError: there is no such pod, or it is not revoked.
    """

    async def revoke(self, *, pod: str, serial: str, identity: str, reason: str, by: str) -> Mapping[str, Any]:
        """It is revoked; the revocation, the certificates that it concerns, and the sequence of the Trust that says so."""

    async def undo(self, *, pod: str, serial: str, identity: str, by: str) -> Mapping[str, Any]:
        """It is not revoked any more; what was."""

    def revocations(self) -> Mapping[str, Any]:
        """All that is revoked."""
