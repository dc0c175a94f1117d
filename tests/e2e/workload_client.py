"""A program that knows of no mesh, only of SPIFFE: what it finds by the Workload API that its environment names.

Run inside pods and outside of them: `fetch`, `watch` (a line for each update until its input ends), `sources` (both of the library's
sources, until its input ends), `raw METHOD:HEADER…` (calls without the library: their status codes), `listen` (one stream
without it), `validate AUDIENCE` (a token from
its input). Each prints JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from spiffe import JwtSource, TrustDomain, WorkloadApiClient, X509Source
from spiffe.workloadapi.x509_context import X509Context

_printing = threading.Lock()


def main(mode: str, *arguments: str) -> None:
    match mode:
        case "fetch":
            fetch(arguments)
        case "watch":
            watch()
        case "sources":
            sources()
        case "raw":
            for each in arguments:
                method, _, header = each.partition(":")
                tell(**raw(method, header))
        case "listen":
            listen()
        case "validate":
            validate(arguments[0], sys.stdin.readline().strip())
        case _:
            raise SystemExit(f"{mode} is nothing this program does")


def fetch(audience: Sequence[str]) -> None:
    with WorkloadApiClient() as client:
        svid = client.fetch_x509_svid()
        token = client.fetch_jwt_svid(audience=set(audience) or {"api"})
        judged = client.validate_jwt_svid(token=token.token, audience=sorted(token.audience)[0])
        bundle = client.fetch_jwt_bundles().get_bundle_for_trust_domain(TrustDomain(svid.spiffe_id.trust_domain.name))
        tell(
            **described(client.fetch_x509_context()),
            identities=len(client.fetch_x509_svids()),
            token=token.token,
            subject=str(token.spiffe_id),
            judged=str(judged.spiffe_id),
            keys=sorted(bundle.jwt_authorities) if bundle else [],
            x509Domains=sorted(each.trust_domain.name for each in client.fetch_x509_bundles().bundles),
        )


def watch() -> None:
    with WorkloadApiClient() as client:
        handler = client.stream_x509_contexts(lambda context: tell(**described(context)), lambda error: tell(error=str(error)))
        sys.stdin.read()
        handler.cancel()


def sources() -> None:
    """What programs usually use: sources that keep themselves up to date; asked for at every line of input."""
    with X509Source() as x509, JwtSource() as jwt:
        for line in sys.stdin:
            svid = x509.svid
            bundle = x509.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
            token = jwt.fetch_svid(audience={line.strip()})
            tell(serial=serial(svid), roots=root_serials(bundle), subject=str(token.spiffe_id))


def raw(method: str, header: str) -> dict[str, Any]:
    name, _, value = header.partition("=")
    metadata = ((name, value),) if name else ()
    with grpc.insecure_channel(os.environ["SPIFFE_ENDPOINT_SOCKET"]) as channel:
        streamed = method.startswith("Fetch") and method != "FetchJWTSVID"
        call: Any = (channel.unary_stream if streamed else channel.unary_unary)(f"/SpiffeWorkloadAPI/{method}")
        try:
            answer = call(b"", metadata=metadata, timeout=10)
            size = len(next(iter(answer)) if isinstance(answer, Iterator) else answer)
        except grpc.RpcError as error:
            return {"code": error.code().name, "details": error.details()}
        return {"code": "OK", "bytes": size}


def listen() -> None:
    """One stream without the library, which would begin another: how large each message is, and how it ends."""
    with grpc.insecure_channel(os.environ["SPIFFE_ENDPOINT_SOCKET"]) as channel:
        try:
            call: Any = channel.unary_stream("/SpiffeWorkloadAPI/FetchX509SVID")
            for message in call(b"", metadata=(("workload.spiffe.io", "true"),)):
                tell(bytes=len(message))
        except grpc.RpcError as error:
            tell(code=error.code().name, details=error.details())


def validate(audience: str, token: str) -> None:
    with WorkloadApiClient() as client:
        try:
            tell(subject=str(client.validate_jwt_svid(token=token, audience=audience).spiffe_id))
        except Exception as error:
            tell(refused=str(error))


def described(context: X509Context) -> dict[str, Any]:
    svid = context.default_svid
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {
        "spiffeId": str(svid.spiffe_id),
        "serial": serial(svid),
        "ownKey": svid.private_key.public_key().public_bytes(*form) == svid.leaf.public_key().public_bytes(*form),
        "publicKey": svid.leaf.public_key().public_bytes(*form).hex(),
        "chain": len(svid.cert_chain),
        "roots": root_serials(context.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)),
        "domains": sorted(each.trust_domain.name for each in context.x509_bundle_set.bundles),
    }


def serial(svid: Any) -> str:
    return f"{svid.leaf.serial_number:032x}"


def root_serials(bundle: Any) -> list[str]:
    return sorted(f"{each.serial_number:032x}" for each in bundle.x509_authorities)


def tell(**document: Any) -> None:
    with _printing:
        print(json.dumps(document), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
