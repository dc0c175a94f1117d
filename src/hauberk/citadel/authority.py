"""The certificate authority of one trust domain: a root that signs an issuing key that signs leaves."""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from hauberk.api.pod import Pod
from hauberk.citadel.key_pairs import Authority, KeyPairs
from hauberk.citadel.key_store import KeyUnreadable
from hauberk.citadel.settings import CitadelSettings
from hauberk.identity.csr import read_public_key
from hauberk.identity.spiffe_id import SpiffeId, workload_id
from hauberk.identity.template import SERIAL_BITS, build_issuing, build_leaf, build_root
from hauberk.identity.trust_bundle import TrustBundle, to_pem
from hauberk.kit.log import logger

ROOT = "root"
ISSUING = "issuing"

_log = logger("citadel")


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCertificate:
    """A signed leaf with all a server must present, and whom its holder is to trust."""

    spiffe_id: SpiffeId
    serial: str
    not_before: datetime
    not_after: datetime
    chain: tuple[str, ...]  # PEM, leaf first, without the root: who does not have it cannot be told it
    trust_bundle: tuple[str, ...]  # PEM, roots only

    def to_document(self) -> dict[str, list[str]]:
        """The answer of `POST /v1/certificates`."""
        return {"certificateChain": list(self.chain), "trustBundle": list(self.trust_bundle)}


class Citadel:
    """Signs certificates for attested pods. Its keys lie in a `KeyPairs` and leave it only into this object."""

    def __init__(self, *, trust_domain: str, root: Authority, issuing: Authority, store: KeyPairs, settings: CitadelSettings) -> None:
        self.trust_domain = trust_domain
        self._root = root
        self._issuing = issuing
        self._store = store
        self._settings = settings
        self._renewing = asyncio.Lock()

    @classmethod
    def open(cls, directory: Path, *, trust_domain: str, settings: CitadelSettings, now: datetime) -> Self:
        """The authority kept in `directory`, made there if there is none; what a crash left unfinished is finished."""
        store = KeyPairs(directory)
        store.prepare()
        root = store.read(ROOT)
        issuing = store.read(ISSUING)
        if root is None:
            # The root is written first, so an issuing key without one is no crash of ours but a lost file.
            _refuse_orphan(directory, issuing)
            root = _make_root(trust_domain, settings.root_lifetime, now)
            store.write(ROOT, root)
            _log.info("root made", trust_domain=trust_domain, serial=_serial_of(root), not_after=root.certificate.not_valid_after_utc)
        _check_root(directory, root, trust_domain, now)
        if root.certificate.not_valid_before_utc > now:
            _log.warning("the root is not valid yet: set the machine's clock", now=now, not_before=root.certificate.not_valid_before_utc)
        if issuing is None or not _signed_by(issuing, root) or is_issuing_due(issuing.certificate, root.certificate, now):
            issuing = _renew_issuing(store, trust_domain, root, settings, now)
        return cls(trust_domain=trust_domain, root=root, issuing=issuing, store=store, settings=settings)

    def trust_bundle(self) -> TrustBundle:
        """Whom members of the trust domain trust: the root alone, since chains are served complete."""
        return TrustBundle(trust_domain=self.trust_domain, authorities=(self._root.certificate,))

    async def issue(self, csr_pem: str, pod: Pod, now: datetime, *, lifetime: timedelta | None = None) -> IssuedCertificate:
        """A certificate for the service account of `pod`, which has been attested; of the request only the key is believed.

        Raises InvalidCsr for a request that none is issued for. `lifetime` overrides the settings'.
        """
        public_key = read_public_key(csr_pem)
        spiffe_id = workload_id(self.trust_domain, pod.metadata.namespace, pod.spec.service_account_name)
        issuing = await self._current_issuing(now)
        template = build_leaf(
            spiffe_id=spiffe_id,
            public_key=public_key,
            issuer=issuing.certificate,
            serial=_next_serial(),
            now=now,
            lifetime=lifetime or self._settings.certificate_lifetime,
        )
        leaf = template.sign(issuing.key, hashes.SHA256())
        issued = self._issued(spiffe_id, leaf, issuing)
        pod_name = f"{pod.metadata.namespace}/{pod.metadata.name}"
        _log.info(
            "certificate issued", pod=pod_name, spiffe_id=str(spiffe_id), serial=issued.serial, not_after=issued.not_after.isoformat()
        )
        return issued

    def _issued(self, spiffe_id: SpiffeId, leaf: x509.Certificate, issuing: Authority) -> IssuedCertificate:
        return IssuedCertificate(
            spiffe_id=spiffe_id,
            serial=f"{leaf.serial_number:032x}",
            not_before=leaf.not_valid_before_utc,
            not_after=leaf.not_valid_after_utc,
            chain=(to_pem(leaf), to_pem(issuing.certificate)),
            trust_bundle=self.trust_bundle().pems,
        )

    async def _current_issuing(self, now: datetime) -> Authority:
        if not self._is_due(now):
            return self._issuing
        async with self._renewing:
            if self._is_due(now):
                renew: Callable[..., Authority] = _renew_issuing
                self._issuing = await asyncio.to_thread(renew, self._store, self.trust_domain, self._root, self._settings, now)
        return self._issuing

    def _is_due(self, now: datetime) -> bool:
        return is_issuing_due(self._issuing.certificate, self._root.certificate, now)


def is_issuing_due(issuing: x509.Certificate, root: x509.Certificate, now: datetime) -> bool:
    """Whether another issuing certificate is to be made: half its life is over, or the clock was set back to before it.

    While the root is not valid either, no better one could be made, and each request would make one.
    """
    half = (issuing.not_valid_after_utc - issuing.not_valid_before_utc) / 2
    if now >= issuing.not_valid_before_utc:
        return now >= issuing.not_valid_before_utc + half
    return now >= root.not_valid_before_utc


def _make_root(trust_domain: str, lifetime: timedelta, now: datetime) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    template = build_root(trust_domain=trust_domain, public_key=key.public_key(), serial=_next_serial(), now=now, lifetime=lifetime)
    return Authority(certificate=template.sign(key, hashes.SHA256()), key=key)


def _renew_issuing(store: KeyPairs, trust_domain: str, root: Authority, settings: CitadelSettings, now: datetime) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    template = build_issuing(
        trust_domain=trust_domain,
        public_key=key.public_key(),
        root=root.certificate,
        serial=_next_serial(),
        now=now,
        lifetime=settings.issuing_lifetime,
    )
    issuing = Authority(certificate=template.sign(root.key, hashes.SHA256()), key=key)
    store.write(ISSUING, issuing)
    _log.info("issuing certificate made", trust_domain=trust_domain, serial=_serial_of(issuing))
    return issuing


def _next_serial() -> int:
    # The highest bit is always set, so that every serial has the same length.
    return secrets.randbits(SERIAL_BITS - 1) | 1 << (SERIAL_BITS - 1)


def _serial_of(authority: Authority) -> str:
    return f"{authority.certificate.serial_number:032x}"


def _signed_by(issuing: Authority, root: Authority) -> bool:
    try:
        issuing.certificate.verify_directly_issued_by(root.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _refuse_orphan(directory: Path, issuing: Authority | None) -> None:
    if issuing is not None:
        remedy = "restore it from a backup, or remove the directory to begin with a new authority (every identity changes)"
        raise KeyUnreadable(directory / f"{ROOT}.pem", "it is missing, yet an issuing key is there", remedy)


def _check_root(directory: Path, root: Authority, trust_domain: str, now: datetime) -> None:
    path = directory / f"{ROOT}.pem"
    remedy = "remove the directory to begin with a new authority (every identity changes)"
    if root.certificate.not_valid_after_utc <= now:
        raise KeyUnreadable(path, "the root has expired", remedy)
    names = root.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    made_for = names.get_values_for_type(x509.UniformResourceIdentifier)
    if made_for != [str(SpiffeId(trust_domain))]:
        raise KeyUnreadable(path, f"it was made for {', '.join(made_for)}, not for trust domain {trust_domain}", remedy)
