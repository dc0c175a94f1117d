"""Who somebody is, as the store of objects knows it."""

from collections.abc import Callable, Iterator
from typing import assert_never

from hauberk.api.config_map import ConfigMap
from hauberk.api.mesh_config import NAME, ROOT_NAMESPACE, HauberkSettings, mesh_config_of
from hauberk.api.pod import Pod
from hauberk.api.selector import has_labels
from hauberk.api.service import Service
from hauberk.api.service_account import ServiceAccount
from hauberk.citadel.attestation import AttestationRefused, Attested, Caller, PodClaim, attest
from hauberk.citadel.entry_attestation import attest_entry
from hauberk.citadel.nodes import agent_id
from hauberk.citadel.rotation import holder_name
from hauberk.identity.spiffe_id import workload_id
from hauberk.identity.wire import AgentSubject, EntrySubject, PodSubject, Subject
from hauberk.mesh.settings import MeshSettings
from hauberk.sources.store import Store


class StoreAttestor:
    """Proves the claims of agents by what is declared: a pod is where the store says it is, an entry is one of the settings'.

    `takes_part`: whether a machine may have a certificate for its own agent.
    """

    def __init__(self, store: Store, trust_domain: Callable[[], str], *, takes_part: Callable[[str], bool]) -> None:
        self._store = store
        self._trust_domain = trust_domain
        self._takes_part = takes_part
        self._read: tuple[ConfigMap | None, HauberkSettings] = (None, mesh_config_of(None).hauberk)

    def attest(self, subject: Subject, caller: Caller) -> Attested:
        """What `subject` is; raises AttestationRefused."""
        match subject:
            case PodSubject():
                return self._pod(subject, caller)
            case EntrySubject():
                return self._entry(subject, caller)
            case AgentSubject():
                return self._agent(caller)
            case _:
                assert_never(subject)

    def _pod(self, subject: PodSubject, caller: Caller) -> Attested:
        claim = PodClaim(namespace=subject.namespace, name=subject.name, uid=subject.uid, node=caller.node)
        pod = attest(claim, self._store.find(Pod, subject.namespace, subject.name))
        account = pod.spec.service_account_name
        self._require_account(subject.namespace, account, f"pod {subject.namespace}/{subject.name}")
        settings = self._settings()
        return Attested(
            spiffe_id=workload_id(self._trust_domain(), subject.namespace, account),
            holder=holder_name(subject, caller.node),
            node=caller.node,
            evidence={"pod": f"{subject.namespace}/{subject.name}", "uid": subject.uid, "placedOn": caller.node, **dict(caller.evidence)},
            lifetime=settings.certificate_lifetime,
            dns_names=tuple(self._service_names(pod)) if settings.dns_names else (),
        )

    def _service_names(self, pod: Pod) -> Iterator[str]:
        """By which a client that knows no SPIFFE IDs may call `pod`: the names of the Services that select it."""
        namespace, domain = pod.metadata.namespace, MeshSettings().cluster_domain
        for service in self._store.of(Service):
            selector = service.spec.selector
            if service.metadata.namespace == namespace and selector and has_labels(pod.metadata.labels, selector):
                yield f"{service.metadata.name}.{namespace}.svc"
                yield f"{service.metadata.name}.{namespace}.svc.{domain}"

    def _entry(self, subject: EntrySubject, caller: Caller) -> Attested:
        settings = self._settings()
        attested = attest_entry(subject, caller, settings.workload_entries, self._trust_domain())
        entry = next(each for each in settings.workload_entries if each.name == subject.name)
        self._require_account(*entry.account, f"entry {subject.name}")
        return Attested(
            spiffe_id=attested.spiffe_id,
            holder=attested.holder,
            node=attested.node,
            evidence={**attested.evidence, **dict(caller.evidence)},
            lifetime=attested.lifetime or settings.certificate_lifetime,
            dns_names=attested.dns_names,
        )

    def _agent(self, caller: Caller) -> Attested:
        if not self._takes_part(caller.node):
            raise AttestationRefused(f"node {caller.node} takes no part in the mesh")
        return Attested(
            spiffe_id=agent_id(self._trust_domain(), caller.node),
            holder=holder_name(AgentSubject(), caller.node),
            node=caller.node,
            evidence=dict(caller.evidence),
        )

    def _require_account(self, namespace: str, account: str, who: str) -> None:
        if self._store.find(ServiceAccount, namespace, account) is None:
            raise AttestationRefused(f"{who} runs as ServiceAccount {account}, which does not exist in {namespace}")

    def _settings(self) -> HauberkSettings:
        """As they are declared now; read again only when they are another object."""
        declared = self._store.find(ConfigMap, ROOT_NAMESPACE, NAME)
        if declared is not self._read[0]:
            self._read = (declared, mesh_config_of(declared).hauberk)
        return self._read[1]
