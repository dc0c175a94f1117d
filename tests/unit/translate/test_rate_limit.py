import re
from typing import Any

from envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2

from hauberk.api.rate_limit import LimitMatch
from hauberk.api.rate_limit_policy import RateLimitPolicy
from hauberk.envoy.message import encode
from hauberk.translate.rate_limit import DRY_RUN, RATE_LIMIT, limit_requests, name_of, rate_limit_filters
from hauberk.translate.rate_limit_match import conditions

DRY = {"istio.io/dry-run": "true"}


def policy(name: str, *limits: dict[str, Any], **annotations: str) -> RateLimitPolicy:
    named = [{"name": f"l{number}", "requests": 5, "per": "minute", **each} for number, each in enumerate(limits or ({},))]
    metadata = {"name": name, "namespace": "shop", "annotations": annotations}
    return RateLimitPolicy.model_validate({"metadata": metadata, "spec": {"limits": named}})


def said(filter_name: str, *policies: RateLimitPolicy) -> local_rate_limit_pb2.LocalRateLimit:
    made = limit_requests(policies)[filter_name]
    assert isinstance(made, local_rate_limit_pb2.LocalRateLimit)
    return made


def test_without_policies_nothing_is_said() -> None:
    assert limit_requests([]) == {}


def test_every_filter_that_is_spoken_to_stands_in_the_chain() -> None:
    chain = {each.name for each in rate_limit_filters()}
    assert set(limit_requests([policy("a", {"by": ["source.namespace"]}), policy("b", **DRY)])) == chain
    assert all(each.disabled for each in rate_limit_filters())


def test_each_limit_has_a_bucket_and_each_value_of_its_keys() -> None:
    made = said(RATE_LIMIT, policy("web", {"burst": 9, "by": ["source.principal", "request.headers[X-Tenant]"]}))
    (bucket,) = made.descriptors
    assert [(entry.key, entry.value) for entry in bucket.entries] == [("limit", "shop/web/l0"), ("0", ""), ("1", "")]
    assert (bucket.token_bucket.max_tokens, bucket.token_bucket.tokens_per_fill.value) == (9, 5)
    assert bucket.token_bucket.fill_interval.seconds == 60
    values = [action.generic_key.descriptor_value for action in made.rate_limits[0].actions]
    assert values == ["shop/web/l0", "%DOWNSTREAM_PEER_URI_SAN%", "%REQ(x-tenant):256%"]
    # Having no value is one, in a field that the descriptors do not know yet.
    assert all(b"(none)" in encode(action) for action in made.rate_limits[0].actions[1:])


def test_a_limit_that_matches_has_an_entry_that_only_its_requests_have() -> None:
    made = said(RATE_LIMIT, policy("web", {"match": {"methods": ["GET"]}}, {}))
    assert [[entry.key for entry in each.entries] for each in made.descriptors] == [["limit", "match"], ["limit"]]
    assert [len(each.actions) for each in made.rate_limits] == [2, 1]


def test_a_claim_with_a_name_that_no_format_can_hold_is_found_by_its_path() -> None:
    made = said(RATE_LIMIT, policy("web", {"by": ["request.auth.claims[a][b:c]", "request.auth.claims[https://x/y]"]}))
    (_, first, second) = made.rate_limits[0].actions
    assert [segment.key for segment in first.metadata.metadata_key.path] == ["payload", "a", "b:c"]
    assert [segment.key for segment in second.metadata.metadata_key.path] == ["payload", "https://x/y"]


def test_what_is_tried_is_counted_by_a_filter_of_its_own_that_refuses_nothing() -> None:
    tried, held = policy("next", **DRY), policy("web")
    assert said(DRY_RUN, tried, held).filter_enforced.default_value.numerator == 0
    assert said(RATE_LIMIT, tried, held).filter_enforced.default_value.numerator == 100
    assert said(RATE_LIMIT, tried, held) == said(RATE_LIMIT, held)


def test_records_are_told_who_limits_if_it_is_one() -> None:
    assert name_of([policy("web")]) == "ns[shop]-policy[web]"
    assert name_of([policy("a"), policy("b")]) == "hauberk-rate-limit"
    assert name_of([]) == ""


def test_equal_policies_have_equal_bytes() -> None:
    first, second = (said(RATE_LIMIT, policy("a", {"by": ["request.path"]}), policy("b")) for _ in range(2))
    assert encode(first) == encode(second)


def counts(match: dict[str, Any], **headers: str) -> bool:
    """Whether Envoy's matchers take a request with these headers (`method`, `path`, `authority` stand for the pseudo-headers)."""
    request = {f":{name}" if name in ("method", "path", "authority") else name.replace("_", "-"): value for name, value in headers.items()}

    def holds(matcher: HeaderMatcher) -> bool:
        value = request.get(matcher.name)
        if matcher.present_match:
            return (value is not None) != matcher.invert_match
        if value is None:
            if not matcher.treat_missing_header_as_empty:
                return False
            value = ""
        found = re.fullmatch(
            matcher.string_match.safe_regex.regex.replace(r"\C", "[^\n]").replace(r"[^\x00-\x{10FFFF}]", "[^\\s\\S]"), value
        )
        return (found is not None) != matcher.invert_match

    asked = conditions(LimitMatch.model_validate(match))
    return all(all(map(holds, each.headers)) == (each.expect_match.value or not each.HasField("expect_match")) for each in asked)


def test_values_mean_what_they_mean_in_a_policy() -> None:
    assert counts({}, path="/")
    assert counts({"paths": ["/a", "/b*"]}, path="/b/c?x")
    assert not counts({"paths": ["/a"]}, path="/a/b")
    assert not counts({"paths": ["*/x"]}, path="/a?/x")
    assert counts({"hosts": ["*.example"]}, authority="A.EXAMPLE:80")
    assert not counts({"methods": ["GET", "HEAD"], "notPaths": ["/health"]}, method="GET", path="/health?x")
    assert counts({"headers": [{"name": "X-T", "values": ["a*", "*b"]}]}, x_t="cb")
    assert not counts({"headers": [{"name": "x-t", "values": ["a"]}]})


def test_many_values_are_asked_in_expressions_that_envoy_can_take() -> None:
    many = [f"/api/v1/resource-{number:05}/item" for number in range(3000)]
    hosts = [f"h{number}.example.com" for number in range(3000)]
    match = {"paths": many, "notHosts": hosts, "headers": [{"name": "x-t", "values": many}]}
    made = said(RATE_LIMIT, policy("web", {"match": match}))
    asked = [action.header_value_match for action in made.rate_limits[0].actions[1:]]
    assert max(len(each.string_match.safe_regex.regex) for one in asked for each in one.headers) <= 17_000
    # Every condition that holds is an entry of the bucket.
    assert [entry.key for entry in made.descriptors[0].entries] == ["limit", *("match" for _ in asked)]
    for path, host, value in ((many[0], "h", many[-1]), (many[-1], "h3000.example.com", many[0])):
        assert counts(match, path=path, authority=host, x_t=value)
        assert not counts(match, path=path, authority=host)
        assert not counts(match, path=path, authority=host, x_t="/")
        assert not counts(match, path=f"{path}x", authority=host, x_t=value)
        assert not counts(match, path=path, authority=hosts[1500], x_t=value)


def test_what_counts_of_an_expression_is_its_bytes() -> None:
    made = said(RATE_LIMIT, policy("web", {"match": {"paths": [f"/{number}/{'é𝄞' * 2000}" for number in range(9)]}}))
    (asked,) = (action.header_value_match for action in made.rate_limits[0].actions[1:])
    assert [len(each.string_match.safe_regex.regex.encode()) <= 17_000 for each in asked.headers] == [True] * 9


def test_any_value_of_a_header_is_an_empty_one_as_well() -> None:
    assert counts({"headers": [{"name": "x-t", "values": ["a", "*"]}]}, x_t="")
    assert not counts({"headers": [{"name": "x-t", "values": ["a", "*"]}]})


def test_an_excluded_value_is_not_had_by_requests_without_the_header() -> None:
    assert counts({"headers": [{"name": "x-t", "notValues": ["a"]}]})
    assert not counts({"headers": [{"name": "x-t", "notValues": ["*"]}]}, x_t="a")
    assert counts({"headers": [{"name": "x-t", "notValues": ["*", "b"]}]})
