"""MeshConfig: the settings of the mesh, Istio's own, as YAML under the key `mesh` of the ConfigMap `istio` in the root namespace."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, ValidationError

from hauberk.api.duration import Duration
from hauberk.api.extension_provider import ExtensionProvider
from hauberk.api.extension_provider_check import check_providers
from hauberk.api.finding import Finding, Location
from hauberk.api.mesh_config_fields import MESH_FIELDS, PROXY_FIELDS
from hauberk.api.mesh_tls import MeshMtls, TlsSettings, check_tls
from hauberk.api.model import ApiModel, Bool, Count
from hauberk.api.name import subdomain_fault
from hauberk.api.sift import sift
from hauberk.api.type_fault import type_findings
from hauberk.api.workload_entry import WorkloadEntry, check_entries
from hauberk.api.yaml_text import TextFault, locate, read_documents

if TYPE_CHECKING:
    from hauberk.api.config_map import ConfigMap

ROOT_NAMESPACE = "istio-system"
NAME = "istio"
KEY = "mesh"
Normalization = Literal["DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"]


class OutboundTrafficPolicy(ApiModel):
    """What becomes of connections to destinations that the mesh does not know."""

    IGNORED: ClassVar[frozenset[str]] = frozenset({"tls"})

    mode: Literal["ALLOW_ANY", "REGISTRY_ONLY"] = "ALLOW_ANY"


class PathNormalization(ApiModel):
    """How a path is brought into one form before it is authorized and passed on; DEFAULT means BASE."""

    normalization: Normalization = "DEFAULT"


class GatewayTopology(ApiModel):
    """How many proxies before the last one are trusted to name a request's client in `x-forwarded-for`.

    Istio's default of 0 believes the last address there, whoever wrote it; here the header is not believed unless a number is given.
    """

    IGNORED: ClassVar[frozenset[str]] = frozenset({"forwardClientCertDetails", "proxyProtocol"})

    num_trusted_proxies: Count | None = None


class ProxyConfig(ApiModel):
    """Defaults of all sidecars."""

    # A program here never starts before its sidecar.
    HARMLESS: ClassVar[frozenset[str]] = frozenset({"holdApplicationUntilProxyStarts", "discoveryAddress", "configPath", "binaryPath"})
    IGNORED: ClassVar[frozenset[str]] = PROXY_FIELDS - HARMLESS

    gateway_topology: GatewayTopology = GatewayTopology()


class HauberkSettings(ApiModel):
    """Settings of this mesh that MeshConfig has no field for."""

    certificate_lifetime: Duration | None = None  # of a workload's certificate; None leaves it to the authority
    dns_names: Bool = False  # certificates of pods also name the Services that select them
    tls: TlsSettings = TlsSettings()
    workload_entries: tuple[WorkloadEntry, ...] = ()  # identities of processes that are in no pod
    # A path that can still be read in two ways is refused where policies ask about paths.
    ambiguous_paths: Literal["DENY", "ALLOW"] = "DENY"
    deny_reason_header: Bool = False  # a 403 names the policy and the rule in a header, to whoever was refused


class MeshConfig(ApiModel):
    """Settings that change what the mesh does; every other known one is named in a warning."""

    # Concern ingress, Prometheus and DNS of a cluster, none of which is here.
    HARMLESS: ClassVar[frozenset[str]] = frozenset({"enablePrometheusMerge", "dnsRefreshRate", "ingressClass", "ingressService"})
    IGNORED: ClassVar[frozenset[str]] = MESH_FIELDS - HARMLESS

    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()  # further names of this mesh, equal to the first in policies and certificates
    root_namespace: str = ROOT_NAMESPACE
    outbound_traffic_policy: OutboundTrafficPolicy = OutboundTrafficPolicy()
    path_normalization: PathNormalization = PathNormalization()
    connect_timeout: Duration = timedelta(seconds=10)
    protocol_detection_timeout: Duration | None = None  # None: the mesh's own short one, after which the bytes count as TCP
    enable_auto_mtls: Bool = True
    default_config: ProxyConfig = ProxyConfig()
    mesh_mtls: MeshMtls = Field(default=MeshMtls(), alias="meshMTLS")
    extension_providers: tuple[ExtensionProvider, ...] = ()
    hauberk: HauberkSettings = HauberkSettings()

    def provider(self, name: str) -> ExtensionProvider | None:
        """The provider of this name."""
        return next((each for each in self.extension_providers if each.name == name), None)


def parse_mesh_config(text: str) -> tuple[MeshConfig | None, tuple[Finding, ...]]:
    """The settings, None if they have an error; findings are located in lines of `text` and by `data.mesh.FIELD`."""
    documents = list(read_documents(text))
    if not documents:
        return MeshConfig(), ()
    node = documents[0]
    if isinstance(node, TextFault):
        return None, (Finding("HBK0401", ("data", KEY), node.message, line=node.line),)
    if not isinstance(node.value, dict):
        return None, (Finding("HBK0401", ("data", KEY), "the settings are not a mapping", line=1),)
    sifted, findings = sift(node.value, MeshConfig)
    config = None
    try:
        config = MeshConfig.model_validate(sifted)
        findings += _check(config)
    except ValidationError as error:
        findings += type_findings(error)
    located = tuple(replace(_setting(each), line=locate(node, each.at, key=True)[0]) for each in findings)
    broken = any(each.code not in _TOLERATED for each in located)
    return (None if broken else config), located


def mesh_config_of(config_map: ConfigMap | None) -> MeshConfig:
    """The settings that a stored ConfigMap holds; the defaults if there is none, or if it cannot be read after all."""
    if config_map is None or KEY not in config_map.data:
        return MeshConfig()
    config, _ = parse_mesh_config(config_map.data[KEY])
    return config or MeshConfig()


_TOLERATED = frozenset({"HBK0402", "HBK0204"})


def _setting(finding: Finding) -> Finding:
    if finding.code == "HBK0202":
        return replace(finding, code="HBK0402", message=f"the setting {finding.at[-1]} is not supported yet and has no effect")
    return finding


def _check(config: MeshConfig) -> list[Finding]:
    findings: list[Finding] = []
    names: list[tuple[Location, str]] = [(("trustDomain",), config.trust_domain)]
    names += [(("trustDomainAliases", index), name) for index, name in enumerate(config.trust_domain_aliases)]
    for trust, name in names:
        if fault := subdomain_fault(name):
            findings.append(Finding("HBK0108", trust, f"{name!r} is no trust domain: it {fault}"))
    if config.root_namespace != ROOT_NAMESPACE:
        message = f"the root namespace is {ROOT_NAMESPACE}, where these settings stand; {config.root_namespace!r} has no effect"
        findings.append(Finding("HBK0402", ("rootNamespace",), message))
    if not config.enable_auto_mtls:
        message = "mutual TLS between sidecars is always used; switching it off has no effect"
        findings.append(Finding("HBK0402", ("enableAutoMtls",), message))
    lifetime = config.hauberk.certificate_lifetime
    if lifetime is not None and lifetime < timedelta(seconds=1):
        at: Location = ("hauberk", "certificateLifetime")
        findings.append(Finding("HBK0107", at, "a certificate must live for at least one second"))
    findings += check_tls(config.hauberk.tls, config.mesh_mtls)
    findings += check_entries(config.hauberk.workload_entries)
    findings += check_providers(("extensionProviders",), config.extension_providers)
    return findings
