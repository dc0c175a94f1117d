"""The certificate authority as the API asks for it, in its words: what citadel refuses becomes a status and a remedy."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from hauberk.api.service_account import ServiceAccount
from hauberk.apiserver.parts import AuthorityRefused
from hauberk.citadel.attestation import AttestationRefused
from hauberk.citadel.authorities import NoIssuer
from hauberk.citadel.authority import Citadel
from hauberk.citadel.exchange import ExchangeRefused
from hauberk.citadel.issuing import InvalidLifetime
from hauberk.citadel.key_store import KeyUnreadable
from hauberk.citadel.rate_limit import TooMany
from hauberk.citadel.rotation import NotAbortable
from hauberk.identity.csr import InvalidCsr
from hauberk.identity.spiffe_id import InvalidSpiffeId
from hauberk.local.ca_documents import certificate_document, overview_document, rotation_document
from hauberk.sources.store import Store

_SEE: Final = "see `hauberk ca show`"


class ServedAuthority:
    """`CertificateAuthority` of the API."""

    def __init__(self, store: Store, citadel: Citadel) -> None:
        self._store = store
        self._citadel = citadel

    def overview(self) -> Mapping[str, Any]:
        """All that `ca show` needs."""
        return overview_document(self._citadel.overview())

    async def rotate(self, by: str) -> Mapping[str, Any]:
        """A new issuing key signs, or is prepared."""
        with _refusing():
            made = await self._citadel.rotate(by)
        return {"authority": made.id, "slot": made.slot.value}

    async def rotate_root(self, by: str) -> Mapping[str, Any]:
        """An exchange of the root has begun."""
        with _refusing():
            return rotation_document(await self._citadel.rotate_root(by))

    async def abort_rotation(self, by: str) -> Mapping[str, Any]:
        """The exchange goes back."""
        with _refusing():
            return rotation_document(await self._citadel.abort_rotation(by))

    def rotation(self) -> Mapping[str, Any] | None:
        """The exchange of the root that is going on, or the last one."""
        found = self._citadel.rotation()
        return None if found is None else rotation_document(found)

    async def issue_outside(self, csr: str, *, namespace: str, service_account: str, seconds: int | None, by: str) -> Mapping[str, Any]:
        """A certificate for a program outside the mesh."""
        if self._store.find(ServiceAccount, namespace, service_account) is None:
            reason = f"there is no ServiceAccount {service_account} in namespace {namespace}"
            raise AuthorityRefused(404, reason, "create it, or name one that `hauberk get sa -A` shows")
        with _refusing():
            issued = await self._citadel.issue_outside(
                csr,
                namespace=namespace,
                service_account=service_account,
                lifetime=None if seconds is None else _life(seconds),
                by=by,
            )
        row = issued.row
        return {
            "spiffeId": row.spiffe_id,
            "serial": row.serial,
            "notAfter": row.not_after.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "certificateChain": list(issued.chain_pem),
            "trustBundle": list(self._citadel.trust.bundle.pems),
        }

    def certificate(self, *, pod: str, serial: str) -> Mapping[str, Any] | None:
        """One certificate and what hangs on it."""
        found = self._citadel.certificate_of(pod=pod, serial=serial)
        return None if found is None else certificate_document(found)


def _life(seconds: int) -> timedelta:
    try:
        return timedelta(seconds=seconds)
    except OverflowError as error:
        raise InvalidLifetime("a certificate cannot live so long: ask for a week at most") from error


@contextmanager
def _refusing() -> Iterator[None]:
    """What citadel refuses, as the API says it; that something cannot be kept (`NotKept`) the API says by itself."""
    try:
        yield
    except (InvalidCsr, InvalidLifetime, InvalidSpiffeId) as error:
        raise AuthorityRefused(422, str(error), "ask for another") from error
    except AttestationRefused as error:
        raise AuthorityRefused(403, str(error), "see `hauberk ca revoke --list`") from error
    except TooMany as error:
        raise AuthorityRefused(429, str(error), f"ask again in {error.retry_after:.1f} s") from error
    except (ExchangeRefused, NotAbortable, NoIssuer) as error:
        raise AuthorityRefused(409, str(error), _SEE) from error
    except KeyUnreadable as error:
        raise AuthorityRefused(500, error.reason, error.remedy) from error
