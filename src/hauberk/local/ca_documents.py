"""What the certificate authority tells people, as the JSON of the API. Times are in UTC, ids and serials as `citadel` writes them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hauberk.citadel.overview import AgentView, AuthorityView, CertificateView, Overview, RotationView

Document = dict[str, Any]


def overview_document(view: Overview) -> Document:
    """The answer of `GET /v1/ca`."""
    trust = view.trust
    return {
        "trustDomain": trust.trust_domain,
        "aliases": list(trust.aliases),
        "trustSequence": trust.sequence,
        "authorities": [authority_document(each) for each in view.authorities],
        "jwtKeys": [key.key_id for key in trust.jwt_keys],
        "federated": [bundle.trust_domain for bundle in trust.federated],
        "revoked": {"serials": len(trust.revoked.serials), "identities": len(trust.revoked.identities), "pods": len(trust.revoked.pods)},
        "living": view.living,
        "agents": [_agent(each) for each in view.agents],
        "rotation": None if view.rotation is None else rotation_document(view.rotation),
        "problems": list(view.problems),
    }


def authority_document(view: AuthorityView) -> Document:
    """One authority. `living`: valid certificates that it, or what is below it, has signed; they depend on it until `lastExpiry`."""
    return {
        "id": view.id,
        "kind": view.kind.value,
        "slot": view.slot.value,
        "serial": view.serial,
        "subject": view.subject,
        "issuer": view.issuer,
        "algorithm": view.algorithm,
        "parent": view.parent,
        "notBefore": _time(view.not_before),
        "notAfter": _time(view.not_after),
        "activated": _time(view.activated),
        "living": view.living,
        "lastExpiry": _time(view.last_expiry),
        "keyHere": view.signs,
        "renewedAt": _time(view.renewed_at),
        "problem": view.problem,
    }


def rotation_document(view: RotationView) -> Document:
    """The answer of `GET /v1/ca/rotation`."""
    return {
        "stage": view.stage.value,
        "new": view.new,
        "old": view.old,
        "by": view.by,
        "started": _time(view.started),
        "entered": _time(view.entered),
        "aborting": view.aborting,
        "abortable": view.abortable,
        "steps": [{"name": step.name, "state": step.state, "detail": step.detail} for step in view.steps],
        "waiting": view.waiting,
        "waitingFor": list(view.waiting_for),
    }


def certificate_document(view: CertificateView) -> Document:
    """The answer of `GET /v1/ca/certificates`."""
    row = view.certificate
    attested: Mapping[str, str] = view.attested_by
    return {
        "serial": row.serial,
        "spiffeId": row.spiffe_id,
        "holder": row.holder,
        "node": row.node,
        "notBefore": _time(row.not_before),
        "notAfter": _time(row.not_after),
        "renewal": _time(view.renewal),
        "revokedAt": _time(row.revoked_at),
        "reason": row.reason,
        "attestedBy": dict(attested),
        "chain": [authority_document(each) for each in view.chain],
        "held": view.held,
        "problem": view.problem,
    }


def _agent(view: AgentView) -> Document:
    return {
        "node": view.node,
        "connected": _time(view.connected),
        "heard": _time(view.heard),
        "trustSequence": view.sequence,
        "confirmed": view.confirmed,
        "holders": view.holders,
        "clockAheadSeconds": None if view.ahead is None else round(view.ahead.total_seconds(), 3),
        "problems": list(view.problems),
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds").replace("+00:00", "Z")
