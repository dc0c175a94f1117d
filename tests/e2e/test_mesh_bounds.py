"""External authorizers and rate limits in a whole mesh: declared by objects, held by sidecars, told by records."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.e2e import objects
from tests.e2e.callers import ask
from tests.e2e.objects import ROOT_NAMESPACE, Document, authorization_policy, port
from tests.e2e.programs import server_command

from hauberk.testing.mesh import Mesh
from hauberk.testing.namespace import MeshNamespace

# Refuses what has /deny in its path.
AUTHORIZER = """
import http.server, sys
class Check(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(418 if "/deny" in self.path else 200)
        self.send_header("content-length", "0")
        self.end_headers()
    log_message = lambda *_: None
http.server.ThreadingHTTPServer(("127.0.0.1", 9001), Check).serve_forever()
"""


@pytest.fixture(scope="module")
def shop(shared_mesh: Mesh) -> Iterator[MeshNamespace]:
    """A server, an authorizer, and callers with identities of their own."""
    mesh, root = shared_mesh.namespace("bounds"), shared_mesh.namespace(ROOT_NAMESPACE)
    settings = yaml.safe_dump(
        {
            "extensionProviders": [
                {"name": "authz", "envoyExtAuthzHttp": {"service": "authz.bounds.svc.cluster.local", "port": 9001}},
                {"name": "nobody", "envoyExtAuthzHttp": {"service": "nobody.bounds.svc.cluster.local", "port": 9001}},
            ]
        }
    )
    root.apply(json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio"}, "data": {"mesh": settings}}))
    objects.apply(
        mesh,
        *(objects.account(name) for name in ("alice", "bob")),
        objects.pod("web", server_command("http@[::]:8080")),
        objects.service("web", port(8080, "http")),
        objects.pod("authz", [sys.executable, "-c", AUTHORIZER]),
        objects.service("authz", port(9001, "http-authz")),
        *(objects.idle(name, account=name) for name in ("alice", "bob")),
    )
    mesh.ready("web", "authz", "alice", "bob")
    yield mesh
    mesh.clear()
    root.delete("ConfigMap", "istio")


def status(mesh: MeshNamespace, caller: str, path: str) -> int:
    found: int = ask(mesh, caller, "http", "web", 8080, path=path)["status"]
    return found


def decision(mesh: MeshNamespace, path: str) -> tuple[str, str, str]:
    """What the called sidecar's record says of the request to `path`."""
    (record,) = mesh.records(at_least=1, denied=True, where=lambda each: each["path"] == path and each["reporter"] == "destination")
    decided = record["decision"]
    return decided["verdict"], decided["policy"], decided["reason"]


def custom(provider: str) -> Document:
    made = authorization_policy("ask", "CUSTOM", {"to": [{"operation": {"paths": ["/asked/*"]}}]}, app="web")
    made["spec"]["provider"] = {"name": provider}
    return made


def limit(by: list[str], **more: Any) -> Document:
    entry = {"name": "all", "requests": 2, "per": "hour", "by": by, "match": {"paths": ["/counted"]}}
    spec = {"targetRefs": [{"kind": "Service", "name": "web"}], "limits": [entry]}
    return {"apiVersion": "policy.hauberk.dev/v1alpha1", "kind": "RateLimitPolicy", "metadata": {"name": "web", **more}, "spec": spec}


def test_an_authorizer_of_the_mesh_is_asked(shop: MeshNamespace) -> None:
    objects.apply(shop, custom("authz"))
    assert [status(shop, "alice", path) for path in ("/asked/a", "/asked/deny", "/deny")] == [200, 418, 200]
    assert decision(shop, "/asked/deny") == ("deny", "bounds/ask", "external authorization")
    objects.apply(shop, custom("nobody"))
    assert [status(shop, "alice", path) for path in ("/asked/a", "/deny")] == [403, 200]
    shop.delete("AuthorizationPolicy", "ask")


def test_a_limit_holds_for_each_caller_and_is_recorded(shop: MeshNamespace) -> None:
    objects.apply(shop, limit(["source.principal"]))
    assert [status(shop, caller, "/counted") for caller in ("alice", "alice", "alice", "bob")] == [200, 200, 429, 200]
    assert status(shop, "alice", "/free") == 200
    assert decision(shop, "/counted") == ("deny", "bounds/web", "rate limit")
    shop.delete("RateLimitPolicy", "web")
    assert status(shop, "alice", "/counted") == 200
