"""Processes that are in no pod: the settings of the mesh say which entry is for whom, and are asked again for every certificate."""

from collections.abc import Iterable

from hauberk.api.workload_entry import WorkloadEntry
from hauberk.citadel.attestation import AttestationRefused, Attested, Caller
from hauberk.identity.selector import unmet
from hauberk.identity.spiffe_id import workload_id
from hauberk.identity.wire import EntrySubject


def attest_entry(subject: EntrySubject, caller: Caller, entries: Iterable[WorkloadEntry], trust_domain: str) -> Attested:
    """What the process is that `caller` describes; raises AttestationRefused.

    The agent has found the entry by the same rules; it is not believed to have found the right one, nor to know the newest settings.
    """
    what = f"entry {subject.name!r}"
    entry = next((each for each in entries if each.name == subject.name), None)
    if entry is None:
        raise AttestationRefused(f"there is no {what}")
    if not entry.is_for(caller.node, own=caller.own):
        raise AttestationRefused(f"{what} is not for node {caller.node!r}")
    evidence = dict(subject.evidence)
    if len(evidence) != len(subject.evidence):
        raise AttestationRefused(f"the evidence for {what} says something twice")
    if missing := unmet(entry.selectors.texts(), evidence):
        raise AttestationRefused(f"the evidence for {what} does not bear out its {', '.join(missing)}")
    namespace, account = entry.account
    return Attested(
        spiffe_id=workload_id(trust_domain, namespace, account),
        holder=f"entry {entry.name}",
        node=caller.node,
        evidence={**evidence, "entry": entry.name},
    )
