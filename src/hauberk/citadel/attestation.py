"""Who may hold which certificate: what the store says about a pod decides, never what a process says about itself."""

from dataclasses import dataclass

from hauberk.api.pod import Pod

_FINISHED = ("Succeeded", "Failed")


class AttestationRefused(PermissionError):
    """No certificate is issued for this claim; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodClaim:
    """An agent's word that a pod runs on its node. `service_account` may be left out: it is the store's anyway."""

    namespace: str
    name: str
    uid: str
    node: str
    service_account: str | None = None


def attest(claim: PodClaim, pod: Pod | None) -> Pod:
    """The pod that `claim` is about, if the store's `pod` of that name bears every word of it out."""
    what = f"pod {claim.namespace}/{claim.name}"
    if pod is None or (pod.metadata.namespace, pod.metadata.name) != (claim.namespace, claim.name):
        raise AttestationRefused(f"there is no {what}")
    if not claim.uid or pod.metadata.uid != claim.uid:
        raise AttestationRefused(f"{what} is another one by now: its uid is not {claim.uid!r}")
    if not claim.node or pod.spec.node_name != claim.node:
        raise AttestationRefused(f"{what} does not run on node {claim.node!r}")
    if claim.service_account is not None and claim.service_account != pod.spec.service_account_name:
        raise AttestationRefused(f"{what} does not run as service account {claim.service_account!r}")
    if pod.status.phase in _FINISHED:
        raise AttestationRefused(f"{what} has ended")
    return pod
