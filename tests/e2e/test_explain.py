"""Why a request was let through or refused: predicted, and hours later, when the policy is gone and everything has been restarted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SHOP = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: frontend, namespace: shop}
---
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: shop}
spec: {selector: {app: orders}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: orders, namespace: shop, labels: {app: orders}}
spec:
  containers:
  - name: app
    command: [python3, -m, http.server, "8080"]
    ports: [{containerPort: 8080}]
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: frontend, namespace: shop, labels: {app: frontend}}
spec: {serviceAccountName: frontend, containers: [{name: app, command: [sleep, infinity]}]}
"""
POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: orders-read, namespace: shop}
spec:
  selector: {matchLabels: {app: orders}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/frontend]}}]
    to: [{operation: {methods: [GET], notPaths: [/secret*]}}]
"""
DENY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-secrets, namespace: shop}
spec:
  action: DENY
  selector: {matchLabels: {app: orders}}
  rules:
  - to: [{operation: {paths: [/secret*]}}]
"""
OTHERS = """
apiVersion: policy.hauberk.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: once, namespace: shop}
spec:
  selector: {matchLabels: {app: orders}}
  limits: [{name: one, requests: 1, per: hour, match: {paths: [/limited]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: ask, namespace: shop}
spec:
  action: CUSTOM
  provider: {name: nobody}
  selector: {matchLabels: {app: orders}}
  rules: [{to: [{operation: {paths: [/asked]}}]}]
"""
# Prints the status for each `METHOD PATH ID` of its arguments.
CALLER = """
import http.client, sys
for ask in sys.argv[1:]:
    method, path, name = ask.split()
    line = http.client.HTTPConnection("orders", 80, timeout=10)
    line.request(method, path, headers={"x-request-id": name})
    print(line.getresponse().status)
"""


class Shell:
    """A user with a mesh of his own, which survives its restarts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        places = {"HAUBERK_STATE_DIR": str(directory / "s"), "HAUBERK_RUN_DIR": str(directory / "r"), "HAUBERK_MESH": "explain"}
        self._environment = {**os.environ, **places}

    def run(self, *arguments: str, text: str = "") -> str:
        """What the command printed; it must not fail."""
        command = [sys.executable, "-m", "hauberk", *arguments]
        done = subprocess.run(command, env=self._environment, input=text, text=True, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def explain(self, *arguments: str) -> dict[str, Any]:
        """The answer of `hauberk explain`."""
        found: dict[str, Any] = json.loads(self.run("explain", *arguments, "-o", "json"))
        return found

    def call(self, *asked: str) -> list[int]:
        """The statuses that the frontend gets."""
        return [int(line) for line in self.run("exec", "frontend.shop", "--", "python3", "-c", CALLER, *asked).split()]

    def records(self, name: str) -> list[dict[str, Any]]:
        """The record of a request as the destination saw it, as soon as it is there."""
        for _ in range(100):
            found = [
                each for each in json.loads(self.run("access", "--request-id", name, "-o", "json")) if each["reporter"] == "destination"
            ]
            if found:
                return found
        raise AssertionError(f"no record of {name}")


@pytest.fixture(scope="module")
def shop() -> Iterator[Shell]:
    """The shop with its policies, in a mesh that runs beside the tests."""
    directory = Path(tempfile.mkdtemp(prefix="hb-"))
    directory.chmod(0o711)
    shell = Shell(directory)
    try:
        shell.run("up", "--detach", "--wait")
        shell.run("apply", "-f", "-", text=SHOP)
        shell.run("apply", "-f", "-", text=f"{POLICY}\n---\n{DENY}")
        ready(shell)
        yield shell
    finally:
        shell.run("down", "--purge")
        shutil.rmtree(directory, ignore_errors=True)


def ready(shell: Shell) -> None:
    """Both pods serve, and their sidecars know the policies."""
    for _ in range(200):
        pods = json.loads(shell.run("get", "pods", "-n", "shop", "-o", "json"))["items"]
        conditions = [each for pod in pods for each in pod.get("status", {}).get("conditions", ()) if each["type"] == "Ready"]
        if len(conditions) == 2 and all(each["status"] == "True" for each in conditions):
            shell.run("apply", "-f", "-", "--wait", text=f"{POLICY}\n---\n{DENY}")
            return
    raise AssertionError("the pods did not become ready")


PREDICTED = (("GET", "/", 200), ("GET", "/secret/1", 403), ("POST", "/", 403), ("GET", "/a%2fb", 403))


def test_what_is_predicted_happens(shop: Shell) -> None:
    asked = [("--from", "shop/frontend", "--to", "orders.shop", method, path) for method, path, _ in PREDICTED]
    predicted = [shop.explain(*each) for each in asked]
    happened = shop.call(*(f"{method} {path} predicted-{number}" for number, (method, path, _) in enumerate(PREDICTED)))
    assert happened == [status for _, _, status in PREDICTED]
    assert [each["verdict"] for each in predicted] == ["allow" if status == 200 else "deny" for status in happened]
    assert [each["status"] for each in predicted] == [None if status == 200 else status for status in happened]
    decided = [shop.records(f"predicted-{number}")[0]["decision"] for number in range(len(PREDICTED))]
    named = [((each["decidedBy"] or {}).get("policy"), (each["decidedBy"] or {}).get("rule")) for each in predicted]
    assert named == [(each["policy"], each["rule"]) for each in decided]


def test_a_caller_without_identity_is_told_that_it_does_not_get_in(shop: Shell) -> None:
    found = shop.explain("--to", "orders.shop", "GET", "/")
    assert {each["name"]: each["outcome"] for each in found["layers"]}["mtls"] == "deny"
    assert found["verdict"] == "deny"


def test_a_service_that_is_not_there_is_said(shop: Shell) -> None:
    with pytest.raises(AssertionError, match="there is no service or pod 'ordrs'"):
        shop.explain("--to", "ordrs.shop", "GET", "/")


def test_a_limit_and_an_external_service_that_is_not_there_are_told_after_the_fact(shop: Shell) -> None:
    shop.run("apply", "-f", "-", "--wait", text=OTHERS)
    try:
        assert shop.call("GET /limited first", "GET /limited second", "GET /asked asked") == [404, 429, 403]
        for name in ("second", "asked"):
            shop.records(name)
        assert shop.explain("--request-id", "second")["reason"] == "by RateLimitPolicy shop/once `one` (1 in 3600 s and instance)"
        predicted = shop.explain("--from", "shop/frontend", "--to", "orders.shop", "GET", "/asked")
        happened = shop.explain("--request-id", "asked")
        assert (happened["reason"], happened["decidedBy"]) == (predicted["reason"], predicted["decidedBy"])
        assert "there is no extension provider nobody" in happened["reason"]
        refused = [[each["name"] for each in found["layers"] if each["outcome"] == "deny"] for found in (predicted, happened)]
        assert refused == [["custom"], ["custom"]]
    finally:
        shop.run("delete", "-f", "-", "--wait", text=OTHERS)


def test_why_a_request_was_refused_is_known_when_its_policy_is_gone_and_all_was_restarted(shop: Shell) -> None:
    assert shop.call("GET /secret/2 refused", "POST / unmatched", "GET / passed") == [403, 403, 200]
    for name in ("refused", "unmatched", "passed"):
        shop.records(name)
    before = shop.explain("--request-id", "refused")
    shop.run("delete", "ap", "no-secrets", "orders-read", "-n", "shop", "--wait")
    assert shop.explain("--from", "shop/frontend", "--to", "orders.shop", "GET", "/secret/2")["verdict"] == "allow"
    shop.run("down")
    shop.run("up", "--detach", "--wait")
    after = shop.explain("--request-id", "refused")
    assert after["decidedBy"] == before["decidedBy"] == {"policy": "shop/no-secrets", "rule": "0"}
    assert {each["policy"]: each["matched"] for each in after["policies"]} == {"shop/no-secrets": True, "shop/orders-read": False}
    unmatched = shop.explain("--request-id", "unmatched")
    assert "nearest is AuthorizationPolicy shop/orders-read, rule 0: method is POST; needs [GET]" in unmatched["reason"]
    passed = shop.explain("--request-id", "passed")
    assert passed["decidedBy"] == {"policy": "shop/orders-read", "rule": "0"}
    assert passed["layers"][0]["because"] == "orders.shop:80 led to port 8080 of pod orders"
    then = after["objectsAt"]
    assert shop.explain("--at", then, "--from", "shop/frontend", "--to", "orders.shop", "GET", "/secret/2")["verdict"] == "deny"
