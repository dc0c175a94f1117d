"""What the API needs of the other services of the control plane. Who starts them fits them together."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from hauberk.api.metadata import ObjectKey
from hauberk.api.problem import Problem
from hauberk.mesh.snapshot import MeshSnapshot

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

    @property
    def snapshot(self) -> MeshSnapshot | None:
        """The mesh as the proxies are told it; None before the first."""

    async def wait(self, revision: int, timeout: float) -> PushResult:
        """Returns when every proxy that `revision` concerns has acknowledged or refused it, or when `timeout` seconds are over."""

    def proxies(self) -> Sequence[Json]:
        """The proxies as `status -o json` shows them."""

    def judge(self, pod: ObjectKey, connections: Sequence[Json]) -> Sequence[bool] | None:
        """For each of the open `connections` to `pod` (fields as in `decisions.Asked`) whether it may go on; None: not known yet.

        It is called from threads.
        """


class Issuers(Protocol):
    """The places that the keys of end users' tokens are fetched from."""

    def issuers(self) -> Sequence[Json]:
        """What is known of each, and which rules name it."""


class Names(Protocol):
    """The table of names that the agents answer from."""

    def table(self) -> Mapping[str, Any]:
        """The table as it is now."""

    def tables(self) -> AsyncIterator[Mapping[str, Any]]:
        """The table as it is now, and again whenever it has changed."""


class AuthorityRefused(Exception):
    """The certificate authority does not do what it was asked, and nothing has changed. `status`: of HTTP; `remedy`: what to do."""

    def __init__(self, status: int, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.status = status
        self.remedy = remedy


class CertificateAuthority(Protocol):
    """The authorities of the mesh, as people look after them. What it does not do it refuses with AuthorityRefused."""

    def overview(self) -> Mapping[str, Any]:
        """All authorities, all agents, and what should be done."""

    async def rotate(self, by: str) -> Mapping[str, Any]:
        """A new issuing key signs from now on, or, as `slot` says, is prepared."""

    async def rotate_root(self, by: str) -> Mapping[str, Any]:
        """An exchange of the root has begun."""

    async def abort_rotation(self, by: str) -> Mapping[str, Any]:
        """The exchange of the root that is going on goes back."""

    def rotation(self) -> Mapping[str, Any] | None:
        """The exchange of the root that is going on, or the last one; None: there never was one."""

    async def issue_outside(self, csr: str, *, namespace: str, service_account: str, seconds: int | None, by: str) -> Mapping[str, Any]:
        """A certificate of `seconds` (None: as long as the mesh's own) for a program outside the mesh, which `by` answers for."""

    def certificate(self, *, pod: str, serial: str) -> Mapping[str, Any] | None:
        """The newest certificate of a pod (namespace/name), or that of a serial, and what hangs on it."""


class Revoker(Protocol):
    """Revokes. What it is given is one of `pod` (namespace/name), `serial` and `identity`; the others are empty.

    ValueError: it is none; LookupError: there is no such pod, or it is not revoked. Both return when every proxy has confirmed, or after
    `wait` seconds; `pending` of the answer names those that have not, `problem` says what is amiss with the lists that proxies have.
    """

    async def revoke(self, *, pod: str, serial: str, identity: str, reason: str, by: str, wait: float) -> Mapping[str, Any]:
        """It is revoked; the revocation, the certificates that it concerns, and the sequence of the Trust that says so."""

    async def undo(self, *, pod: str, serial: str, identity: str, by: str, wait: float) -> Mapping[str, Any]:
        """It is not revoked any more; what was."""

    def revocations(self) -> Mapping[str, Any]:
        """All that is revoked."""


class ImportFault(Protocol):
    """One reason why an authority cannot be plugged in, and what to do."""

    @property
    def where(self) -> str: ...

    @property
    def reason(self) -> str: ...

    @property
    def remedy(self) -> str: ...


class ImportRefused(Exception):
    """The authority is not plugged in, and nothing has changed."""

    def __init__(self, status: int, faults: Sequence[ImportFault]) -> None:
        super().__init__("; ".join(f"{fault.where}: {fault.reason}" for fault in faults))
        self.status = status
        self.faults = tuple(faults)


class Importer(Protocol):
    """Plugs in an authority that somebody else has signed."""

    async def import_ca(self, files: Mapping[str, str], *, dry_run: bool, by: str) -> Mapping[str, Any]:
        """It signs, or will when its root is trusted everywhere; raises ImportRefused. `files`: names by their role (`ca_import`)."""

    def imported(self) -> Mapping[str, Any]:
        """Which files are followed, and why a change of them was not taken over."""


class Machines(Protocol):
    """The other machines of the mesh. ValueError: what is asked makes no sense; PermissionError: it may not be; LookupError: who?"""

    async def create_token(self, node: str, seconds: float) -> Mapping[str, Any]:
        """What a machine needs to join as `node`: addresses, whom to trust, and a token that is good once."""

    def nodes(self) -> Mapping[str, Any]:
        """Every machine that has joined or was banned."""

    async def ban(self, node: str, reason: str) -> Mapping[str, Any]:
        """The machine is out, and what it held is revoked."""

    async def readmit(self, node: str) -> Mapping[str, Any]:
        """The machine may join again."""

    def agents(self) -> Sequence[Json]:
        """The agents of other machines as `status -o json` shows them."""

    def proxy(self, namespace: str, pod: str) -> Json:
        """What is known here of the proxy of a pod on another machine, beside what pilot knows; empty for any other."""


class Federator(Protocol):
    """Our own trust bundle, and the trust domains that this mesh is federated with."""

    def bundle(self, form: str) -> str:
        """Our own bundle as `spiffe` or `pem`."""

    def federation(self) -> Mapping[str, Any]:
        """Every federated domain, and how others are to fetch our bundle."""

    async def federate(
        self, *, trust_domain: str, url: str, profile: str, endpoint_id: str, bundle: str | None, by: str
    ) -> Mapping[str, Any]:
        """The domain is federated; ValueError, which may have a `hint`, if it is not to be."""

    async def remove(self, trust_domain: str, by: str) -> bool:
        """The domain is not federated any more; False: it was not."""


class TokenKeys(Protocol):
    """What checks the tokens of this mesh."""

    def discovery(self) -> Mapping[str, Any] | None:
        """OpenID Connect's discovery document; None: tokens name no issuer."""

    def keys(self) -> Mapping[str, Any]:
        """The keys as a JWK Set."""

    async def rotate(self, by: str) -> Mapping[str, Any]:
        """The next key is published; which, and when it signs at the earliest."""
