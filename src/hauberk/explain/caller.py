"""Who calls: an identity, and the pod where it is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hauberk.explain.imagine import known_address
from hauberk.explain.question import DEFAULT_NAMESPACE, Question, Unanswerable
from hauberk.identity.spiffe_id import InvalidSpiffeId, workload_id
from hauberk.mesh.snapshot import MeshSnapshot
from hauberk.mesh.workload import Workload


@dataclass(frozen=True, slots=True)
class Caller:
    """`identity` is what its sidecar can prove, empty if it has none; `pod` is one that runs as it, if there is one."""

    identity: str = ""
    pod: Workload | None = None
    address: str | None = None
    name: str = ""

    @property
    def namespace(self) -> str:
        """Where short names are looked up for it."""
        return self.name.partition("/")[0] if self.identity else ""


def resolve_caller(snapshot: MeshSnapshot, question: Question) -> Caller:
    """The caller that the question means; Unanswerable if it means none."""
    text = question.source
    if not text:
        return Caller(address=question.address)
    if text.startswith("spiffe://"):
        return Caller(text, None, question.address, _short(text))
    kind, slash, rest = text.partition("/")
    if slash and kind in ("pod", "po"):
        return _running(_pod(snapshot, rest, question), snapshot, question)
    if slash:
        return _account(snapshot, kind, rest, question)
    found = _find(snapshot, text, question.namespace or DEFAULT_NAMESPACE)
    if found is None:
        message = f"from: {text!r} is no pod"
        raise Unanswerable(message, "write NAMESPACE/SERVICEACCOUNT or the name of a pod, or leave it out for a caller without identity")
    return _running(found, snapshot, question)


def _account(snapshot: MeshSnapshot, namespace: str, account: str, question: Question) -> Caller:
    if not namespace or not account or "/" in account:
        raise Unanswerable(f"from: {question.source!r} is no service account", "write NAMESPACE/SERVICEACCOUNT")
    pods = [w for w in _of(snapshot, namespace) if w.service_account == account and w.meshed]
    pod = min(pods, key=lambda each: (not each.addresses, each.name), default=None)
    # The address of a pod that may be meant is no fact about the caller unless there is only one such pod.
    address = question.address or (known_address(pod.addresses) if len(pods) == 1 and pod else None)
    return Caller(_identity(snapshot, namespace, account, question), pod, address, f"{namespace}/{account}")


def _running(pod: Workload, snapshot: MeshSnapshot, question: Question) -> Caller:
    address = question.address or known_address(pod.addresses)
    if not pod.meshed:
        return Caller("", pod, address, str(pod.key))
    identity = _identity(snapshot, pod.namespace, pod.service_account, question)
    return Caller(identity, pod, address, f"{pod.namespace}/{pod.service_account}")


def _identity(snapshot: MeshSnapshot, namespace: str, account: str, question: Question) -> str:
    try:
        return str(workload_id(question.trust_domain or snapshot.config.trust_domain, namespace, account))
    except InvalidSpiffeId as error:
        raise Unanswerable(f"from: {question.source!r} can have no identity: {error}", "write NAMESPACE/SERVICEACCOUNT") from error


def _pod(snapshot: MeshSnapshot, name: str, question: Question) -> Workload:
    found = _find(snapshot, name, question.namespace or DEFAULT_NAMESPACE)
    if found is None:
        raise Unanswerable(f"from: there is no pod {name!r}", "see `hauberk get pods -A`")
    return found


def _find(snapshot: MeshSnapshot, text: str, namespace: str) -> Workload | None:
    name, _, inside = text.partition(".")
    return next((each for each in _of(snapshot, inside or namespace) if each.name == name), None)


def _of(snapshot: MeshSnapshot, namespace: str) -> Iterable[Workload]:
    return (each for each in snapshot.workloads.values() if each.namespace == namespace)


def _short(identity: str) -> str:
    namespace, _, account = identity.partition("/ns/")[2].partition("/sa/")
    return f"{namespace}/{account}" if account else identity
