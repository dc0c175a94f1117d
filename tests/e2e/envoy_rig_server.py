"""The rig's authority and its configuration server: just enough of both for a real Envoy."""

from __future__ import annotations

import datetime
import itertools
import queue
import secrets as chance
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from envoy.extensions.transport_sockets.tls.v3 import common_pb2, secret_pb2
from envoy.service.discovery.v3 import discovery_pb2

from hauberk.envoy.message import encode, with_newer
from hauberk.identity.crl import RevokedCertificate, build_crl
from hauberk.identity.trust import Revoked
from hauberk.translate.encode import encode_resource
from hauberk.translate.revocation import encode_revoked
from hauberk.translate.tls import CERTIFICATE, CERTIFICATE_NEWEST, CERTIFICATE_UPSTREAM, ROOTS, ROOTS_UPSTREAM
from hauberk.translate.tls_profile import NEWEST
from hauberk.xds.resource import Resource

NAMESPACE = "shop"


class Authority:
    """A root that signs what it is asked to."""

    def __init__(self, trust_domain: str = "cluster.local") -> None:
        self._trust_domain = trust_domain
        self._key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, trust_domain)])
        usage = dict.fromkeys(
            (
                *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
                *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
            ),
            False,
        )
        self._usage = usage
        self._root = (
            x509.CertificateBuilder(
                name, name, self._key.public_key(), 1, now - datetime.timedelta(hours=1), now + datetime.timedelta(days=9)
            )
            .add_extension(x509.BasicConstraints(True, 0), True)
            .add_extension(x509.KeyUsage(**{**usage, "key_cert_sign": True, "crl_sign": True}), True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def root(self) -> bytes:
        return self._root.public_bytes(serialization.Encoding.PEM)

    def crl(self, *certificates: bytes) -> bytes:
        """A revocation list (PEM) of these certificates (PEM)."""
        now = datetime.datetime.now(datetime.UTC)
        revoked = [RevokedCertificate(serial=serial_of(each), since=now) for each in certificates]
        return build_crl(self._root, revoked, number=1).sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def issue(
        self, account: str, namespace: str = NAMESPACE, life: datetime.timedelta = datetime.timedelta(hours=1)
    ) -> tuple[bytes, bytes]:
        """(certificate, private key) as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        uri = x509.UniformResourceIdentifier(f"spiffe://{self._trust_domain}/ns/{namespace}/sa/{account}")
        certificate = (
            x509.CertificateBuilder(
                self._root.subject,
                x509.Name([]),
                key.public_key(),
                # The highest bit is always set, as in the serials of the mesh's authority.
                chance.randbits(127) | 1 << 127,
                now - datetime.timedelta(minutes=1),
                now + life,
            )
            .add_extension(x509.SubjectAlternativeName([uri]), True)
            .add_extension(x509.KeyUsage(**{**self._usage, "digital_signature": True}), True)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return certificate.public_bytes(serialization.Encoding.PEM), private


def serial_of(certificate: bytes) -> str:
    """The serial of a certificate (PEM) in 32 hexadecimal digits."""
    return f"{x509.load_pem_x509_certificate(certificate).serial_number:032x}"


def roots(authority: Authority, *revoked: bytes, name: str = ROOTS) -> Resource:
    """Whom the agent would let its Envoys trust; with a list of the `revoked` certificates (PEM) if there are any."""
    made = secret_pb2.Secret(name=name)
    made.validation_context.trusted_ca.inline_bytes = authority.root
    if revoked:
        made.validation_context.crl.inline_bytes = authority.crl(*revoked)
        made.validation_context.only_verify_leaf_cert_crl = True
    return encode_resource(made, name)


def secrets(authority: Authority, account: str, namespace: str = NAMESPACE) -> tuple[Resource, ...]:
    """What the agent would serve by itself: the pod's secrets, and that nobody was revoked."""
    certificate, key = authority.issue(account, namespace)
    return *shown(certificate, key), roots(authority), roots(authority, name=ROOTS_UPSTREAM), *encode_revoked(Revoked())


def shown(certificate: bytes, key: bytes) -> tuple[Resource, ...]:
    """What the agent would let its Envoys show of these PEM texts, under each of its names."""
    own = common_pb2.TlsCertificate(
        certificate_chain={"inline_bytes": certificate},  # type: ignore[arg-type]  # protobuf takes a mapping for a message
        private_key={"inline_bytes": key},  # type: ignore[arg-type]
    )
    newest = with_newer(common_pb2.TlsCertificate.FromString(encode(own)), 9, encode(NEWEST))
    kinds = ((CERTIFICATE, own), (CERTIFICATE_NEWEST, newest), (CERTIFICATE_UPSTREAM, own))
    return tuple(encode_resource(secret_pb2.Secret(name=name, tls_certificate=each), name) for name, each in kinds)


class ConfigurationServer:
    """Delta ADS for one Envoy on a Unix socket: whatever is asked for is told, whatever changes is told again."""

    ORDER = ("Cluster", "ClusterLoadAssignment", "Secret", "TypedExtensionConfig", "Listener", "RouteConfiguration")

    def __init__(self, path: Path) -> None:
        self.rejections: list[str] = []
        self._resources: dict[str, dict[str, Resource]] = {}
        self._asked: dict[str, set[str]] = {}
        self._known: dict[tuple[str, str], str] = {}
        self._nonces = itertools.count()
        self._unanswered: set[str] = set()
        self._lock = threading.Lock()
        self._out: queue.Queue[discovery_pb2.DeltaDiscoveryResponse | None] = queue.Queue()
        self._pool = ThreadPoolExecutor(4)
        self._server = grpc.server(self._pool)
        handler = grpc.stream_stream_rpc_method_handler(
            self._stream,
            request_deserializer=discovery_pb2.DeltaDiscoveryRequest.FromString,
            response_serializer=discovery_pb2.DeltaDiscoveryResponse.SerializeToString,
        )
        service = "envoy.service.discovery.v3.AggregatedDiscoveryService"
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"DeltaAggregatedResources": handler}),))
        self._server.add_insecure_port(f"unix:{path}")
        self._server.start()

    def put(self, resources: Iterable[Resource]) -> None:
        """These and no others exist from now on."""
        tables: dict[str, dict[str, Resource]] = {}
        for resource in resources:
            tables.setdefault(resource.type_url, {})[resource.name] = resource
        with self._lock:
            self._resources = tables
            types = sorted(self._asked, key=lambda url: self.ORDER.index(url.rpartition(".")[2]))
            for type_url in types:
                self._tell(type_url)
            for type_url in reversed(types):
                self._tell_removed(type_url)

    def settled(self) -> bool:
        """Envoy has answered everything it was told."""
        with self._lock:
            return bool(self._asked) and not self._unanswered

    def close(self) -> None:
        self._out.put(None)
        self._server.stop(None)
        self._pool.shutdown(wait=False)

    def _stream(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[discovery_pb2.DeltaDiscoveryResponse]:
        self._asked, self._known, self._out = {}, {}, queue.Queue()
        out = self._out

        def read() -> None:
            with suppress(grpc.RpcError, ValueError):
                for request in requests:
                    self._on_request(request)
            out.put(None)

        threading.Thread(target=read, daemon=True).start()
        while (response := out.get()) is not None:
            yield response

    def _on_request(self, request: discovery_pb2.DeltaDiscoveryRequest) -> None:
        with self._lock:
            self._unanswered.discard(request.response_nonce)
            if request.error_detail.message:
                self.rejections.append(request.error_detail.message)
            names = self._asked.setdefault(request.type_url, set())
            first = not request.response_nonce and not request.resource_names_subscribe and not names
            names |= {"*"} if first else set(request.resource_names_subscribe)
            names -= set(request.resource_names_unsubscribe)
            for name in request.resource_names_unsubscribe:
                self._known.pop((request.type_url, name), None)
            if first or request.resource_names_subscribe:
                for name in request.resource_names_subscribe:
                    self._known.pop((request.type_url, name), None)
                self._tell(request.type_url)

    def _tell(self, type_url: str) -> None:
        names = self._asked[type_url]
        found = self._resources.get(type_url, {})
        chosen = [r for r in found.values() if ("*" in names or r.name in names) and self._known.get((type_url, r.name)) != r.version]
        if not chosen:
            return
        for resource in chosen:
            self._known[(type_url, resource.name)] = resource.version
            # A cluster that changes waits for its endpoints, which Envoy does not ask for again.
            if type_url.endswith(".Cluster"):
                self._known.pop((type_url.replace("cluster.v3.Cluster", "endpoint.v3.ClusterLoadAssignment"), resource.name), None)
        self._send(type_url, [discovery_pb2.Resource.FromString(resource.encoded) for resource in chosen], [])

    def _tell_removed(self, type_url: str) -> None:
        gone = [name for url, name in self._known if url == type_url and name not in self._resources.get(type_url, {})]
        for name in gone:
            del self._known[(type_url, name)]
        if gone:
            self._send(type_url, [], gone)

    def _send(self, type_url: str, resources: list[discovery_pb2.Resource], removed: list[str]) -> None:
        nonce = str(next(self._nonces))
        self._unanswered.add(nonce)
        self._out.put(discovery_pb2.DeltaDiscoveryResponse(type_url=type_url, resources=resources, removed_resources=removed, nonce=nonce))
