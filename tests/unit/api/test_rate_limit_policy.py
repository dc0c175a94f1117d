"""RateLimitPolicy: limits, what they count and what has a count of its own."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from hauberk.api.document import from_document, to_document
from hauberk.api.manifest import parse_manifest
from hauberk.api.rate_limit_key import BucketKey, BucketKind, bucket_words, parse_bucket_key
from hauberk.api.rate_limit_policy import RateLimitPolicy

Told = Callable[[str], list[tuple[str, str]]]
HEAD = "apiVersion: policy.hauberk.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {name: calm, namespace: shop}\n"
LIMIT = "spec.limits[0]"


def policy(limits: str, more: str = "") -> str:
    return HEAD + f"spec: {{limits: [{limits}]{more}}}\n"


def limit(more: str = "", rate: str = "requests: 5, per: second") -> str:
    return policy(f"{{name: a, {rate}{', ' if more else ''}{more}}}")


def read(text: str) -> RateLimitPolicy:
    (found,) = parse_manifest(text, "r.yaml").objects
    assert isinstance(found, RateLimitPolicy)
    return found


def test_every_field_is_known(told: Told) -> None:
    text = policy(
        """{name: callers, requests: 100, per: minute, burst: 20, by: [source.principal, 'request.headers[X-Tenant]', request.path],
            match: {methods: [GET], notMethods: [HEAD], paths: ['/api/{*}', '/b*'], notPaths: [/health], hosts: ['*.shop'], notHosts: [a],
                    headers: [{name: x-kind, values: ['*'], notValues: [batch]}]}}""",
        ", targetRefs: [{kind: Service, name: web}, {group: apps, kind: Deployment, name: web}]",
    )
    assert told(text) == []
    found = read(text)
    assert from_document(to_document(found)) == found
    (only,) = found.spec.limits
    assert (only.per, only.size) == (timedelta(minutes=1), 20)
    assert only.buckets[1] == BucketKey(BucketKind.HEADER, ("x-tenant",))


@pytest.mark.parametrize(("text", "period"), [("second", 1.0), ("hour", 3600.0), ("10s", 10.0), ("100ms", 0.1), ("24h", 86400.0)])
def test_a_time_is_a_unit_or_a_duration(told: Told, text: str, period: float) -> None:
    assert told(limit(rate=f"requests: 1, per: {text}")) == []
    assert read(limit(rate=f"requests: 1, per: {text}")).spec.limits[0].per.total_seconds() == period


def test_without_a_burst_as_many_may_come_at_once_as_in_the_time() -> None:
    assert read(limit()).spec.limits[0].size == 5


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (limit(rate="requests: 0, per: second"), ("HBK0107", f"{LIMIT}.requests")),
        (limit(rate="requests: 2000000000, per: second"), ("HBK0107", f"{LIMIT}.requests")),
        (limit(rate="requests: 1, per: day"), ("HBK0110", f"{LIMIT}.per")),
        (limit(rate="requests: 1, per: 5"), ("HBK0104", f"{LIMIT}.per")),
        (limit(rate="requests: 1, per: 1ms"), ("HBK0330", f"{LIMIT}.per")),
        (limit(rate="requests: 1, per: 48h"), ("HBK0330", f"{LIMIT}.per")),
        (limit("by: [source.port]"), ("HBK0309", f"{LIMIT}.by[0]")),
        (limit("by: [connection.sni]"), ("HBK0309", f"{LIMIT}.by[0]")),
        (limit("by: [source.ip, source.ip]"), ("HBK0112", f"{LIMIT}.by[1]")),
        (limit("match: {headers: [{name: a}]}"), ("HBK0302", f"{LIMIT}.match.headers[0]")),
        (limit("match: {headers: [{name: 'a b', values: [a]}]}"), ("HBK0110", f"{LIMIT}.match.headers[0].name")),
        (limit("match: {paths: ['/{x}']}"), ("HBK0314", f"{LIMIT}.match.paths[0]")),
        (limit("match: {methods: ['']}"), ("HBK0302", f"{LIMIT}.match.methods[0]")),
        (policy("{name: A, requests: 1, per: second}"), ("HBK0108", f"{LIMIT}.name")),
        (policy(""), ("HBK0105", "spec.limits")),
        (policy("{name: a, requests: 1, per: second}, {name: a, requests: 1, per: hour}"), ("HBK0112", "spec.limits[1].name")),
        (policy("{name: a, requests: 1, per: hour}", ", targetRefs: [{kind: Pod, name: a}]"), ("HBK0106", "spec.targetRefs[0].kind")),
        (policy("{name: a, requests: 1, per: hour}", ", targetRefs: [{kind: Deployment, name: a}]"),
         ("HBK0106", "spec.targetRefs[0].group")),
        (HEAD.replace("shop}", "shop, annotations: {istio.io/dry-run: x}}") + "spec: {limits: [{name: a, requests: 1, per: hour}]}",
         ("HBK0110", "metadata.annotations['istio.io/dry-run']")),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused(told: Told, text: str, problem: tuple[str, str]) -> None:
    assert told(text) == [problem]


def test_a_policy_can_be_tried() -> None:
    assert read(limit().replace("shop}", "shop, annotations: {istio.io/dry-run: 'true'}}")).dry_run
    assert not read(limit()).dry_run


def test_every_word_for_a_bucket_is_read() -> None:
    kinds = [parse_bucket_key(word.replace("NAME", "a")).kind for word in bucket_words()]
    assert kinds == list(BucketKind)
