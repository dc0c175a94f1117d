"""A small shop for tests of the analysis, and what is said of objects that are added to it."""

from collections.abc import Callable

from hauberk.analysis.analyze import analyze, world_of
from hauberk.api.manifest import parse_manifest
from hauberk.api.problem import Problem, has_errors

Said = list[tuple[str, str, str]]  # code, name of the object, path
Ask = Callable[..., Said]

SHOP = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Namespace
metadata: {name: istio-system}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, tier: front}}
    spec: {serviceAccountName: web, containers: [{name: a, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: a, ports: [{containerPort: 5432}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{name: tcp, port: 5432}]}
---
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: shop, labels: {app: bare, sidecar.istio.io/inject: "false"}}
spec: {containers: [{name: a}]}
"""


def policy(name: str, spec: str, *, namespace: str = "shop", kind: str = "AuthorizationPolicy", annotations: str = "") -> str:
    """A policy as text; `spec` is in one line."""
    group = "policy.hauberk.dev/v1alpha1" if kind == "RateLimitPolicy" else "security.istio.io/v1"
    more = f", annotations: {{{annotations}}}" if annotations else ""
    return f"apiVersion: {group}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}{more}}}\nspec: {spec}\n"


def said(*documents: str, shop: str = SHOP, whole: bool = False, foreign: tuple[str, ...] | None = None) -> Said:
    """What the analysis says of the shop with these documents, which must be right by themselves."""
    return [(each.code, each.object, each.path) for each in _problems(documents, shop, whole, foreign)]


def _problems(documents: tuple[str, ...], shop: str, whole: bool = False, foreign: tuple[str, ...] | None = None) -> list[Problem]:
    manifest = parse_manifest("\n---\n".join((shop, *documents)), "shop.yaml")
    assert not has_errors(manifest.problems), [str(each) for each in manifest.problems]
    world = world_of(manifest.objects, root_namespace="istio-system", whole=whole, foreign=foreign)
    remarks = analyze(world)
    return [manifest.origin(each.about).problem(each.finding, each.about.name) for each in remarks]


def codes(*documents: str, whole: bool = False, foreign: tuple[str, ...] | None = None) -> list[str]:
    """Only the codes."""
    return [code for code, _, _ in said(*documents, whole=whole, foreign=foreign)]


def severities(*documents: str, shop: str = SHOP) -> dict[str, str]:
    """How serious it is, by code."""
    return {each.code: each.severity for each in _problems(documents, shop)}
