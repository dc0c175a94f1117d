"""`hauberk test`: the same expectations, offline and by real sidecars, as root and without privileges."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest
from tests.e2e import unprivileged

OBJECTS = """
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: shop}
spec:
  selector: {app: orders}
  ports:
  - {name: http, port: 80, targetPort: web}
  - {name: tcp-raw, port: 9000}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders, namespace: shop}
spec:
  selector: {matchLabels: {app: orders}}
  template:
    metadata: {labels: {app: orders}}
    spec:
      serviceAccountName: orders
      containers: [{name: app, image: registry.example/orders:1, ports: [{name: web, containerPort: 8080}]}]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: idp, namespace: shop}
spec:
  selector: {matchLabels: {app: orders}}
  jwtRules: [{issuer: "https://idp", audiences: [shop], jwksUri: "https://idp.example/keys"}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: orders, namespace: shop}
spec:
  selector: {matchLabels: {app: orders}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/frontend]}}]
    to: [{operation: {methods: [GET], paths: [/orders/*]}}]
  - to: [{operation: {methods: [POST]}}]
    when: [{key: "request.auth.claims[groups]", values: [writer]}]
  - from: [{source: {namespaces: [backup]}}]
    to: [{operation: {ports: ["9000"]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: next, namespace: shop, annotations: {istio.io/dry-run: "true"}}
spec: {action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}
"""
TESTS = """
objects: [./objects.yaml]
tests:
- name: the frontend reads orders
  request: {from: shop/frontend, to: orders.shop, method: GET, path: "/orders/17?x=1", headers: {x-a: [b, c]}}
  expect: allow
  by: shop/orders
  dryRun: {shop/next: deny}
- name: and nothing else
  request: {from: shop/frontend, to: orders.shop, method: GET, path: /admin}
  expect: deny
  by: none
- name: not by detours
  request: {from: shop/frontend, to: orders.shop, method: GET, path: /orders/../admin}
  expect: deny
- name: not by encoded slashes
  request: {from: shop/frontend, to: orders.shop, method: GET, path: /orders/..%2fadmin}
  expect: deny
- name: a writer writes
  request: {from: web/gateway, to: orders.shop, method: POST, path: /orders, claims: {iss: "https://idp", sub: a, groups: [writer, reader]}}
  expect: allow
- name: a reader does not
  request: {from: web/gateway, to: orders.shop, method: POST, path: /orders, claims: {iss: "https://idp", sub: jo, groups: [reader]}}
  expect: deny
- name: a bad token is not accepted
  request: {from: web/gateway, to: orders.shop, method: POST, path: /orders, token: a.b.c}
  expect: unauthenticated
- name: who has no identity does not get in
  request: {to: orders.shop, method: GET, path: /orders/17}
  expect: deny
- name: the backup connects
  request: {from: backup/nightly, to: orders.shop, port: 9000}
  expect: allow
- name: the frontend does not
  request: {from: shop/frontend, to: orders.shop, port: 9000}
  expect: deny
- name: a workload known by its labels only
  request: {from: shop/frontend, workload: {namespace: shop, labels: {app: other}}, port: 8080, method: GET, path: /}
  expect: allow
- name: a caller's address cannot be chosen
  request: {from: shop/frontend, fromAddress: 10.1.2.3, to: orders.shop, method: GET, path: /orders/17}
  expect: allow
- name: claims of an issuer whom nobody knows
  request: {from: web/gateway, to: orders.shop, method: POST, path: /orders, claims: {iss: "https://other", sub: jo, groups: [writer]}}
  expect: allow
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """The files of a user, where any user can read them."""
    with tempfile.TemporaryDirectory(prefix="hb-") as name:
        made = Path(name)
        made.chmod(0o755)
        (made / "objects.yaml").write_text(OBJECTS)
        (made / "shop.test.yaml").write_text(TESTS)
        yield made


def run(directory: Path, *arguments: str, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """The command, where its user stands."""
    command = [*prefix, sys.executable, "-m", "hauberk", "test", *arguments]
    return subprocess.run(command, cwd=directory, text=True, capture_output=True, timeout=120, check=False)


def test_expectations_hold_offline_and_no_mesh_is_started(directory: Path) -> None:
    done = run(directory, "shop.test.yaml", "--junit", "out.xml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "13 of 13 tests passed" in done.stdout
    assert Xml.parse(directory / "out.xml").getroot().get("tests") == "13"


def test_a_failure_is_told_with_its_reason(directory: Path) -> None:
    (directory / "shop.test.yaml").write_text(TESTS.replace("by: none", "by: shop/orders").replace("groups: [reader]", "groups: [x]"))
    done = run(directory, ".")
    assert done.returncode == 1
    assert "expected deny by shop/orders, got deny (no ALLOW rule matches; nearest is" in done.stdout
    assert "objects.yaml:" in done.stdout


def test_a_wrong_file_is_wrong_usage(directory: Path) -> None:
    (directory / "shop.test.yaml").write_text(TESTS.replace("expect: allow", "expect: alow", 1))
    done = run(directory, "shop.test.yaml")
    assert done.returncode == 2
    assert "shop.test.yaml:6:11" in done.stderr
    assert "did you mean allow?" in done.stderr


@pytest.mark.parametrize("prefix", [(), unprivileged.PREFIX], ids=["root", "unprivileged"])
def test_real_sidecars_do_the_same_and_where_not_that_is_told(directory: Path, prefix: Sequence[str]) -> None:
    if prefix and os.geteuid() != 0:
        pytest.skip("this user is unprivileged already")
    files = [str(directory / "shop.test.yaml")]
    done = run(directory, *files, "--live", "-o", "json", prefix=prefix)
    found: dict[str, Any] = json.loads(done.stdout)
    live = {each["name"]: each["live"] for each in found["results"]}
    assert live.pop("a caller's address cannot be chosen")["skipped"]
    # Offline the claims are taken as verified; there is no issuer who could have signed them.
    assert live.pop("claims of an issuer whom nobody knows") | {"by": None} == {
        "got": "unauthenticated",
        "said": "401",
        "by": None,
        "skipped": None,
        "same": False,
    }
    assert {name: each["got"] for name, each in live.items() if not each["same"]} == {}
    assert live["the frontend reads orders"]["by"] == "shop/orders, rule 0; dry run: deny by shop/next, rule 0"
    assert (done.returncode, found["failed"]) == (1, 0)


def test_a_watched_file_is_tested_again_when_it_changes(directory: Path) -> None:
    command = [sys.executable, "-m", "hauberk", "test", "shop.test.yaml", "--watch"]
    with subprocess.Popen(command, cwd=directory, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as watching:
        assert watching.stdout is not None
        lines = iter(watching.stdout.readline, "")
        assert any("13 of 13" in line for line in lines)
        assert any("waiting for a change" in line for line in lines)
        (directory / "objects.yaml").write_text(OBJECTS.replace("namespaces: [backup]", "namespaces: [other]"))
        assert any("12 of 13" in line for line in lines)
        watching.send_signal(signal.SIGINT)
    assert watching.returncode == 130
