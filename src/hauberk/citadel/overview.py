"""What people are shown: `Overview` is all of `ca show`, `RotationView` an exchange of roots, `CertificateView` one leaf."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from hauberk.citadel import slots
from hauberk.citadel.adoption import uris
from hauberk.citadel.authorities import Authorities, certificate_of
from hauberk.citadel.roster import AgentState, Roster
from hauberk.citadel.rotation import Waiting, holder_name
from hauberk.citadel.serials import serial_text
from hauberk.citadel.skew import Skew
from hauberk.citadel.state_authorities import AuthorityRow, Kind, Slot
from hauberk.citadel.state_issued import IssuedRow
from hauberk.citadel.state_progress import Progress, Stage
from hauberk.identity.trust import Trust
from hauberk.identity.wire import Holder


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityView:
    """One X.509 authority. `living`: valid leaves it has signed, the last of which ends at `last_expiry`; `signs`: its key is here.

    `renewed_at`: when an issuing key is replaced without anybody's doing. `problem`: what should be done about it; empty: nothing.
    """

    id: str
    kind: Kind
    slot: Slot
    serial: str
    subject: str
    issuer: str
    algorithm: str
    parent: str
    created: datetime
    activated: datetime | None
    not_before: datetime
    not_after: datetime
    living: int
    last_expiry: datetime | None
    signs: bool
    renewed_at: datetime | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentView:
    """One machine's agent that follows the Trust. `confirmed`: it and all its proxies have said that they hold the newest."""

    node: str
    connected: datetime
    heard: datetime | None
    sequence: int
    confirmed: bool
    holders: int
    ahead: timedelta | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One step of an exchange of roots: `state` is `done`, `current` or `pending`; `detail` says what it means."""

    name: str
    state: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationView:
    """An exchange of roots, going on or the last one. `waiting_for` names every straggler; `abortable`: it could go back now."""

    stage: Stage
    new: str
    old: str
    started: datetime
    entered: datetime
    by: str
    aborting: bool
    abortable: bool
    steps: tuple[StepView, ...]
    waiting: str = ""
    waiting_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All that `ca show` needs. Foreign bundles, JWT keys and what is revoked are in `trust`."""

    trust: Trust
    authorities: tuple[AuthorityView, ...]
    agents: tuple[AgentView, ...]
    living: int
    skews: tuple[Skew, ...] = ()
    rotation: RotationView | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateView:
    """One leaf and what hangs on it. `attested_by`: what proved its holder; `held`: its proxy has acknowledged it, by its agent's word.

    `chain`: the authorities above it, the issuing one first. `problem`: why its holder has no newer one.
    """

    certificate: IssuedRow
    attested_by: Mapping[str, str] = field(default_factory=dict)
    chain: tuple[AuthorityView, ...] = ()
    held: bool = False
    renewal: datetime | None = None
    problem: str = ""


def view_authorities(authorities: Authorities, living: Mapping[str, tuple[int, datetime]]) -> tuple[AuthorityView, ...]:
    """All that are not retired, roots first, each with what it has below it."""
    rows = [row for row in authorities.rows if row.kind is not Kind.JWT and row.slot is not Slot.RETIRED]
    return tuple(_view(row, authorities, living) for row in sorted(rows, key=lambda row: (row.kind is not Kind.ROOT, row.created, row.id)))


def view_agents(roster: Roster, trust: Trust) -> tuple[AgentView, ...]:
    """The agents that are connected, by node."""
    return tuple(_agent(agent, trust) for _, agent in sorted(roster.agents.items()))


def view_rotation(progress: Progress | None, waiting: Waiting | None) -> RotationView | None:
    """The exchange as people follow it."""
    if progress is None:
        return None
    return RotationView(
        stage=progress.stage,
        new=progress.new,
        old=progress.old,
        started=progress.started,
        entered=progress.entered,
        by=progress.by,
        aborting=progress.aborting,
        abortable=not progress.aborting and progress.stage in (Stage.DISTRIBUTE, Stage.RENEW),
        steps=tuple(_steps(progress)),
        waiting=waiting.what if waiting else "",
        waiting_for=waiting.whom if waiting else (),
    )


def view_certificate(row: IssuedRow, views: tuple[AuthorityView, ...], roster: Roster) -> CertificateView:
    """The certificate of `row`."""
    by_id = {view.id: view for view in views}
    issuing = by_id.get(row.authority_id)
    root = by_id.get(issuing.parent) if issuing else None
    holder = _holder_of(row, roster)
    half = (row.not_after - row.not_before) / 2
    return CertificateView(
        certificate=row,
        attested_by=json.loads(row.evidence),
        chain=tuple(view for view in (issuing, root) if view is not None),
        held=holder is not None and holder.serial == row.serial,
        renewal=row.not_before + half,
        problem=holder.problem if holder is not None else "",
    )


def _holder_of(row: IssuedRow, roster: Roster) -> Holder | None:
    return next((each for node, each in roster.holders() if node == row.node and holder_name(each.subject, node) == row.holder), None)


def _view(row: AuthorityRow, authorities: Authorities, living: Mapping[str, tuple[int, datetime]]) -> AuthorityView:
    certificate = certificate_of(row)
    below = (row.id, *(each.id for each in slots.below(authorities.rows, row.id)))
    counts = [living[each] for each in below if each in living]
    signs = authorities.has_key(row.id)
    half = (certificate.not_valid_after_utc - certificate.not_valid_before_utc) / 2
    renewable = row.kind is Kind.ISSUING and row.slot is Slot.ACTIVE and authorities.has_key(row.parent)
    return AuthorityView(
        id=row.id,
        kind=row.kind,
        slot=row.slot,
        serial=serial_text(certificate.serial_number),
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        algorithm=_algorithm(certificate.public_key()),
        parent=row.parent,
        created=row.created,
        activated=row.activated,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        living=sum(number for number, _ in counts),
        last_expiry=max((end for _, end in counts), default=None),
        signs=signs,
        renewed_at=certificate.not_valid_before_utc + half if renewable else None,
        problem=_problem(row, signs=signs),
    )


def _problem(row: AuthorityRow, *, signs: bool) -> str:
    if signs or row.slot is not Slot.ACTIVE:
        return ""
    if row.kind is Kind.ISSUING:
        return (
            "its key is lost: nothing can be issued; run `hauberk ca rotate`, or `hauberk ca rotate --root` if the root's key is lost too"
        )
    if not uris(certificate_of(row)):
        return ""  # A company's root names no trust domain of ours, and its key is where it belongs: with the company.
    return "its key is not here: issuing keys cannot be renewed; if it is not kept elsewhere, run `hauberk ca rotate --root`"


def _algorithm(key: object) -> str:
    match key:
        case ec.EllipticCurvePublicKey():
            return f"ECDSA {key.curve.name}"
        case rsa.RSAPublicKey():
            return f"RSA {key.key_size}"
        case _:
            return type(key).__name__


def _agent(agent: AgentState, trust: Trust) -> AgentView:
    report = agent.report
    holders = report.holders if report else ()
    sequence = report.sequence if report else 0
    held = min([sequence, *(holder.sequence for holder in holders if holder.serial)])
    return AgentView(
        node=agent.node,
        connected=agent.connected,
        heard=agent.heard,
        sequence=sequence,
        confirmed=held >= trust.sequence,
        holders=len(holders),
        ahead=agent.ahead,
        problems=tuple(dict.fromkeys(holder.problem for holder in holders if holder.problem)),
    )


def _steps(progress: Progress) -> Iterator[StepView]:
    """In the order they are made; going back, the new root is the one that was there before."""
    names = [
        (Stage.DISTRIBUTE, "distribute", f"every agent and every proxy trusts {progress.new} beside {progress.old}"),
        (Stage.RENEW, "switch", f"{progress.new} signs; every certificate below {progress.old} is renewed"),
        (Stage.CONFIRM, "retire", f"{progress.old} is withdrawn from every agent and every proxy"),
        (Stage.DONE, "done", f"the key of {progress.old} is destroyed"),
    ]
    order = [stage for stage, _, _ in names]
    at = order.index(progress.stage)
    for number, (stage, name, detail) in enumerate(names):
        done = number < at or (stage is Stage.DONE and progress.stage is Stage.DONE)
        yield StepView(name=name, state="done" if done else "current" if number == at else "pending", detail=detail)
