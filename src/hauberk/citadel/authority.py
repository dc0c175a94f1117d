"""The certificate authority of one trust domain, whole: what other parts of Hauberk and people ask of it.

For people (HTTP routes and commands are written against these): `overview()`, `rotate(by)`, `rotate_root(by)`, `abort_rotation(by)`,
`rotation()`, `issue_outside(...)`, `certificate_of(pod=… | serial=…)`, `trust`, `changes()`. What they return is typed in `overview`.
For agents: `service` speaks gRPC and calls `issuer`, `publication` and `roster`.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timedelta
from typing import NoReturn

from hauberk.citadel import slots
from hauberk.citadel.adoption import adopt, check_root, refuse_orphan
from hauberk.citadel.attestation import AttestationRefused, Attested, Attestor, Caller, NobodyAttested, NobodyRefused, Refusals
from hauberk.citadel.authorities import Authorities, NoIssuer
from hauberk.citadel.exchange import Exchange, ExchangeRefused
from hauberk.citadel.ground import Ground
from hauberk.citadel.housekeeping import Housekeeping
from hauberk.citadel.issuing import InvalidLifetime, Issued, Issuer, asked_life
from hauberk.citadel.overview import (
    CertificateView,
    Overview,
    RotationView,
    view_agents,
    view_authorities,
    view_certificate,
    view_rotation,
)
from hauberk.citadel.roster import Roster
from hauberk.citadel.serials import next_serial
from hauberk.citadel.settings import CitadelSettings
from hauberk.citadel.state_authorities import AuthorityRow, Kind
from hauberk.citadel.state_issued import IssuedRow, count_living, read_issued, read_issued_to
from hauberk.citadel.succession import Succession
from hauberk.identity.csr import InvalidCsr, read_public_key
from hauberk.identity.event import Event, EventKind
from hauberk.identity.spiffe_id import workload_id
from hauberk.identity.trust import Trust
from hauberk.kit.log import logger

_log = logger("citadel")


class Citadel:
    """Made by `open`; `run` must run for an exchange of the root to go on. One event loop uses it."""

    def __init__(self, ground: Ground, authorities: Authorities, settings: CitadelSettings, attestor: Attestor, refusals: Refusals) -> None:
        self.ground = ground
        self.settings = settings
        self.roster = Roster()
        self.authorities = authorities
        self.succession = Succession(ground, authorities, settings, refusals)
        self.issuer = Issuer(ground, self.succession, settings, attestor, refusals)
        self.exchange = Exchange(ground, authorities, self.roster, settings, refusals)
        self.concerns: list[Callable[[], Iterable[str]]] = []  # further parts that have something to say in the overview
        self.housekeeping = Housekeeping(ground, authorities, self.succession, self.exchange, self.roster)

    @classmethod
    def open(
        cls, ground: Ground, settings: CitadelSettings, *, attestor: Attestor | None = None, refusals: Refusals | None = None
    ) -> "Citadel":
        """The authority that stands on `ground`, made there if there is none; what a crash left unfinished is finished.

        A pair of keys of the first release is taken over. Raises KeyUnreadable and StateUnusable.
        """
        now = ground.clock.now()
        authorities = Authorities(ground.state, ground.keys, ground.directory, ground.trust_domain)
        refuse_orphan(authorities.rows, ground.keys, ground.directory)
        _take(ground, authorities, adopt(authorities.rows, ground.keys, ground.directory, now))
        _make_missing(ground, authorities, settings, now)
        for row in authorities.rows:
            authorities.keep_copy(row)
        citadel = cls(ground, authorities, settings, attestor or NobodyAttested(), refusals or NobodyRefused())
        citadel.exchange.resume(now)
        return citadel

    def heed(self, refusals: Refusals) -> None:
        """Nobody whom `refusals` names is given anything, or waited for, from now on. For a part that is made from this one."""
        self.issuer.refusals = self.exchange.refusals = self.succession.refusals = refusals

    @property
    def trust_domain(self) -> str:
        """Whose names it vouches for."""
        return self.ground.trust_domain

    @property
    def trust(self) -> Trust:
        """What every agent is told now."""
        return self.ground.publication.trust

    def changes(self) -> AsyncIterator[Trust]:
        """The Trust as it is now, and each later one."""
        return self.ground.publication.changes()

    async def run(self) -> NoReturn:
        """Does what is due until cancelled."""
        await self.housekeeping.run()

    # --- for people

    def overview(self) -> Overview:
        """All that `ca show` needs. Reads the database: not for every request of a proxy."""
        now = self.ground.clock.now()
        living = count_living(self.ground.state, now)
        views = view_authorities(self.authorities, living)
        skews = self.housekeeping.skews
        return Overview(
            trust=self.trust,
            authorities=views,
            agents=view_agents(self.roster, self.trust),
            living=sum(number for number, _ in living.values()),
            skews=skews,
            rotation=self.rotation(),
            problems=(
                *(f"{view.id}: {view.problem}" for view in views if view.problem),
                *(str(skew) for skew in skews),
                *self._waited_for(),
                *(problem for tell in self.concerns for problem in tell()),
            ),
        )

    async def rotate(self, by: str) -> AuthorityRow:
        """A new issuing key signs at once, or (then it is prepared) when all have its revocation list; leaves are renewed as usual.

        Raises ExchangeRefused while the root is being exchanged, NoIssuer if the root's key is not here.
        """
        if self.exchange.going_on:
            raise ExchangeRefused("the root is being exchanged, and its issuing key with it: wait for it, or abort it")
        made = await self.succession.succeed(self.ground.clock.now())
        _log.info("issuing key rotated", id=made.id, slot=made.slot.value, by=by)
        return made

    async def rotate_root(self, by: str) -> RotationView:
        """An exchange of the root has begun; `rotation()` tells how it goes. Raises ExchangeRefused if one is going on."""
        await self.exchange.begin(by)
        return self._rotation()

    async def abort_rotation(self, by: str) -> RotationView:
        """The exchange goes back; raises NotAbortable."""
        await self.exchange.abort(by)
        return self._rotation()

    def rotation(self) -> RotationView | None:
        """The exchange of the root that is going on, or the last one; None: there never was one."""
        return view_rotation(self.exchange.progress, self.exchange.waiting)

    async def issue_outside(self, csr_pem: str, *, namespace: str, service_account: str, lifetime: timedelta | None, by: str) -> Issued:
        """A certificate for a program outside the mesh, which `by` answers for. That the ServiceAccount exists is the caller's to check.

        Raises InvalidCsr, InvalidLifetime, AttestationRefused (revoked), which are events, NoIssuer, StateUnusable.
        """
        spiffe_id = workload_id(self.trust_domain, namespace, service_account)
        try:
            public_key = read_public_key(csr_pem)
            attested = Attested(
                spiffe_id=spiffe_id,
                holder=f"outside {by}",
                node="",
                evidence={"asked": by},
                lifetime=None if lifetime is None else asked_life(self.settings, lifetime, None),
            )
            return await self.issuer.issue_to(attested, public_key, by=by)
        except (InvalidCsr, InvalidLifetime, AttestationRefused) as exc:
            evidence = {"holder": f"outside {by}"}
            refused = Event(
                time=self.ground.clock.now(), kind=EventKind.REFUSED, subject=str(spiffe_id), outcome=str(exc), by=by, evidence=evidence
            )
            await self.ground.audit(refused)
            raise

    def certificate_of(self, *, pod: str = "", serial: str = "") -> CertificateView | None:
        """The certificate of that serial (hexadecimal), or the newest of the pod `NS/NAME`; None: there is none."""
        row = self._row(pod, serial)
        if row is None:
            return None
        living = count_living(self.ground.state, self.ground.clock.now())
        return view_certificate(row, view_authorities(self.authorities, living), self.roster)

    def certificates_of(self, holder_prefix: str) -> tuple[IssuedRow, ...]:
        """All that are remembered of holders whose name begins so (`pod NS/NAME `, `agent NODE`, `outside `), the newest first."""
        return read_issued_to(self.ground.state, holder_prefix=holder_prefix)

    def _waited_for(self) -> tuple[str, ...]:
        """Who keeps a new issuing key from signing."""
        waiting, prepared = self.succession.waiting, self.succession.prepared
        return tuple(f"{prepared.id} waits for {each} {waiting.what}" for each in waiting.whom) if waiting and prepared else ()

    def _row(self, pod: str, serial: str) -> IssuedRow | None:
        if serial:
            return read_issued(self.ground.state, serial=serial.strip().lower().replace(":", "").rjust(32, "0"))
        return next(iter(self.certificates_of(f"pod {pod} ")), None)

    def _rotation(self) -> RotationView:
        view = self.rotation()
        assert view is not None
        return view


def _take(ground: Ground, authorities: Authorities, changed: slots.Rows) -> None:
    if changed:
        ground.state.commit(authorities.write(changed))
        authorities.take(changed)


def _make_missing(ground: Ground, authorities: Authorities, settings: CitadelSettings, now: datetime) -> None:
    """There is a root that can be one, and an issuing key if one can be made."""
    root = slots.active(authorities.rows, Kind.ROOT)
    if root is None:
        made = authorities.make_root(next_serial(), now, settings.root_lifetime)
        _take(ground, authorities, slots.succeed(authorities.rows, made, now))
        root = slots.active(authorities.rows, Kind.ROOT)
        assert root is not None
        _log.info("root made", id=root.id, trust_domain=ground.trust_domain)
    check_root(root, ground.directory, ground.names, now)
    try:
        issuing = authorities.issuing
    except NoIssuer as exc:
        _make_issuing(ground, authorities, settings, now, str(exc))
        return
    if issuing.is_due(now):
        _make_issuing(ground, authorities, settings, now, "the issuing key is due")


def _make_issuing(ground: Ground, authorities: Authorities, settings: CitadelSettings, now: datetime, why: str) -> None:
    root = slots.active(authorities.rows, Kind.ROOT)
    assert root is not None
    try:
        made = authorities.make_issuing(root, next_serial(), now, settings.issuing_lifetime)
    except NoIssuer as exc:
        # People must be able to ask for a new root, so the control plane starts all the same.
        _log.error("no issuing key can be made", reason=str(exc), why=why)
        return
    _take(ground, authorities, slots.succeed(authorities.rows, made, now))
    _log.info("issuing certificate made", id=made.id, root=root.id)


def local_caller(node: str) -> Caller:
    """The agent of the control plane's own machine: who can open a socket in the private run directory is its user."""
    return Caller(node=node, own=True, evidence=(("socket", "private to the mesh's user"),))
