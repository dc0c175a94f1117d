"""A shop in YAML, and questions about it."""

from __future__ import annotations

from typing import Any

from hauberk.api.manifest import parse_manifest
from hauberk.explain.ask import read_question
from hauberk.explain.explain import explain
from hauberk.explain.explanation import Explanation, Layer
from hauberk.explain.imagine import imagined
from hauberk.explain.places import Origins
from hauberk.mesh.snapshot import MeshSnapshot, build_snapshot

ORDERS = """
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: shop}
spec:
  selector: {app: orders}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: tcp-raw, port: 9000}
"""
POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: orders-write, namespace: shop}
spec:
  selector: {matchLabels: {app: orders}}
  rules:
  - from:
    - source: {principals: [cluster.local/ns/shop/sa/admin]}
  - to:
    - operation: {methods: [GET]}
  - to:
    - operation: {methods: [POST]}
    when:
    - {key: "request.auth.claims[groups]", values: [writer]}
"""
AUTHORIZER = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - name: ask
      envoyExtAuthzHttp: {service: authz.example.com, port: 80}
"""
CUSTOM = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec: {action: CUSTOM, provider: {name: %s}, rules: [{to: [{operation: {methods: [POST]}}]}]}
"""


def mesh(*texts: str) -> tuple[MeshSnapshot, Origins]:
    """The mesh of these documents, all of one file."""
    manifest = parse_manifest("\n---\n".join(texts), "shop.yaml")
    errors = [each for each in manifest.problems if each.severity == "error"]
    assert not errors, errors
    return build_snapshot(imagined(manifest.objects), None), Origins(manifest.origins)


def ask(*texts: str, **question: Any) -> Explanation:
    """The answer of that mesh; `from` is written `source`."""
    if "source" in question:
        question["from"] = question.pop("source")
    snapshot, origins = mesh(*texts)
    return explain(snapshot, read_question(question), origins)


def layer(explanation: Explanation, name: str) -> Layer:
    """One layer of the answer."""
    return next(each for each in explanation.answer.layers if each.name == name)
