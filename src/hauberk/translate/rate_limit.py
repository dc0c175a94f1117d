"""RateLimitPolicies as Envoy's local rate limits: one bucket of tokens for every value of what a limit tells requests apart by.

All of it is in the route, so that a changed policy holds for the next request of open connections; the counts then begin anew. A
sidecar counts for itself, each port for itself, and keeps the buckets of so many values only: whatever callers send, its memory is
bounded. What a limit tells apart by and a request does not have is a value of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2
from envoy.config.core.v3 import base_pb2
from envoy.config.route.v3 import route_components_pb2
from envoy.extensions.common.ratelimit.v3 import ratelimit_pb2
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.filters.http.header_to_metadata.v3 import header_to_metadata_pb2
from envoy.extensions.filters.http.local_ratelimit.v3 import local_rate_limit_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.type.matcher.v3 import regex_pb2
from envoy.type.v3 import percent_pb2, token_bucket_pb2
from google.protobuf.message import Message

from hauberk.api.rate_limit import Limit
from hauberk.api.rate_limit_key import BucketKey, BucketKind
from hauberk.api.rate_limit_policy import RateLimitPolicy
from hauberk.envoy.message import any_, boolean, duration, uint32, varint
from hauberk.translate.access_log import DRY_RUN_PREFIX, RBAC_METADATA
from hauberk.translate.rate_limit_match import conditions
from hauberk.translate.rate_limit_value import CALLER_HEADER, CALLER_METADATA, NAMESPACE_KEY, value_action

LocalRateLimit = local_rate_limit_pb2.LocalRateLimit
Descriptor = ratelimit_pb2.LocalRateLimitDescriptor
RateLimit = route_components_pb2.RateLimit
Filter = hcm_pb2.HttpFilter
_Overwrite = base_pb2.HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD

RATE_LIMIT: Final = "envoy.filters.http.local_ratelimit"
DRY_RUN: Final = "hauberk.rate-limit-dry-run"
_HEADERS: Final = "hauberk.rate-limit-headers"
_NAMESPACE: Final = "hauberk.rate-limit-namespace"
_TOLD: Final = "hauberk.rate-limit-told"

# By which a limit on trial says to the filter behind it that it would have refused the request.
_DRY_RUN_HEADER: Final = "x-hauberk-rate-limited"

# So many values have a bucket at the same time, the latest ones; each costs less than a kilobyte.
MOST_VALUES: Final = 1000
_PLENTY: Final = 2**32 - 1

# Newer than the installed descriptors: numbers of fields, and a value.
_RETRY_AFTER: Final = 19  # LocalRateLimit.enable_retry_after_header
_RATE_LIMIT_HEADERS: Final = 7  # RateLimit.x_ratelimit_option
_DRAFT_03: Final = 2

# The entry that a request has for each condition that it fulfils.
_MATCHES: Final = ("match", "yes")

_TELL: Final = ("limit", "remaining", "reset")


def rate_limit_filters() -> tuple[Filter, ...]:
    """In their order; nothing is limited until the route says so."""
    return (
        _disabled(_HEADERS, header_mutation_pb2.HeaderMutation()),  # sees the answer after the limit has written its headers
        _disabled(_NAMESPACE, header_to_metadata_pb2.Config()),
        _disabled(RATE_LIMIT, LocalRateLimit(stat_prefix="enforced")),
        _disabled(DRY_RUN, LocalRateLimit(stat_prefix="dry_run")),  # counts what has passed the limits that are enforced
        _disabled(_TOLD, header_to_metadata_pb2.Config()),
    )


def limit_requests(policies: Sequence[RateLimitPolicy]) -> Mapping[str, Message]:
    """What the route of a workload says to the filters, by their names; empty if no policy bounds it."""
    enforced = [policy for policy in policies if not policy.dry_run]
    tried = [policy for policy in policies if policy.dry_run]
    said: dict[str, Message] = {}
    if policies:
        said[_HEADERS] = _headers(namespaces := _asks_for_namespaces(policies))
        if namespaces:
            said[_NAMESPACE] = _caller_namespace()
    if enforced:
        said[RATE_LIMIT] = _limits(enforced, tried=False)
    if tried:
        said[DRY_RUN] = _limits(tried, tried=True)
        said[_TOLD] = _told(tried)
    return said


def name_of(policies: Sequence[RateLimitPolicy]) -> str:
    """Who limits, as records read it: `ns[shop]-policy[orders]`; of several Envoy does not tell which one it was."""
    if len(policies) != 1:
        return "hauberk-rate-limit" if policies else ""
    metadata = policies[0].metadata
    return f"ns[{metadata.namespace}]-policy[{metadata.name}]"


def _disabled(name: str, config: Message) -> Filter:
    return Filter(name=name, typed_config=any_(config), disabled=True)


def _limits(policies: Sequence[RateLimitPolicy], *, tried: bool) -> LocalRateLimit:
    limits = [
        (f"{policy.metadata.namespace}/{policy.metadata.name}/{limit.name}", limit) for policy in policies for limit in policy.spec.limits
    ]
    made = LocalRateLimit(
        stat_prefix="dry_run" if tried else "enforced",
        # Requests that no limit counts take from a bucket that is never empty: Envoy wants one.
        token_bucket=_bucket(_PLENTY, _PLENTY, 1.0),
        always_consume_default_token_bucket=boolean(False),
        filter_enabled=_fraction(100),
        filter_enforced=_fraction(0 if tried else 100),
        rate_limits=[_counted(name, limit, tried=tried) for name, limit in limits],
        descriptors=[_descriptor(name, limit) for name, limit in limits],
        max_dynamic_descriptors=uint32(MOST_VALUES),
        rate_limited_as_resource_exhausted=True,
    )
    if tried:
        made.request_headers_to_add_when_not_enforced.append(_set(_DRY_RUN_HEADER, "yes"))
    else:
        made.MergeFromString(_number(_RETRY_AFTER, 1))
    return made


def _counted(name: str, limit: Limit, *, tried: bool) -> RateLimit:
    """Which requests `limit` counts, and in whose bucket."""
    made = RateLimit(
        actions=[_generic("limit", name), *_matched(limit), *(value_action(str(n), key) for n, key in enumerate(limit.buckets))]
    )
    if not tried:
        made.MergeFromString(_number(_RATE_LIMIT_HEADERS, _DRAFT_03))
    return made


def _matched(limit: Limit) -> Iterator[RateLimit.Action]:
    for condition in conditions(limit.match):
        action = RateLimit.Action(header_value_match=condition)
        action.header_value_match.descriptor_key, action.header_value_match.descriptor_value = _MATCHES
        yield action


def _descriptor(name: str, limit: Limit) -> Descriptor:
    entries = [_entry("limit", name), *(_entry(*_MATCHES) for _ in conditions(limit.match))]
    # Without a value: each has a bucket of its own.
    entries += [_entry(str(number), "") for number, _ in enumerate(limit.buckets)]
    return Descriptor(entries=entries, token_bucket=_bucket(limit.size, limit.requests, limit.per.total_seconds()))


def _entry(key: str, value: str) -> ratelimit_pb2.RateLimitDescriptor.Entry:
    return ratelimit_pb2.RateLimitDescriptor.Entry(key=key, value=value)


def _generic(key: str, value: str) -> RateLimit.Action:
    return RateLimit.Action(generic_key=RateLimit.Action.GenericKey(descriptor_key=key, descriptor_value=value.replace("%", "%%")))


def _bucket(size: int, tokens: int, seconds: float) -> token_bucket_pb2.TokenBucket:
    return token_bucket_pb2.TokenBucket(max_tokens=size, tokens_per_fill=uint32(tokens), fill_interval=duration(seconds))


def _fraction(percent: int) -> base_pb2.RuntimeFractionalPercent:
    return base_pb2.RuntimeFractionalPercent(default_value=percent_pb2.FractionalPercent(numerator=percent))


def _headers(namespaces: bool) -> header_mutation_pb2.HeaderMutationPerRoute:
    """The words of the standard to come beside those that everybody knows, and what the next filter reads the namespace from."""
    asked = [_mutation(CALLER_HEADER, "%DOWNSTREAM_PEER_URI_SAN%")] if namespaces else []
    told = [_mutation(f"ratelimit-{word}", f"%RESP(x-ratelimit-{word})%") for word in _TELL]
    return header_mutation_pb2.HeaderMutationPerRoute(
        mutations=header_mutation_pb2.Mutations(request_mutations=asked, response_mutations=told)
    )


def _mutation(name: str, value: str) -> mutation_rules_pb2.HeaderMutation:
    return mutation_rules_pb2.HeaderMutation(append=_set(name, value))


def _set(name: str, value: str) -> base_pb2.HeaderValueOption:
    return base_pb2.HeaderValueOption(header=base_pb2.HeaderValue(key=name, value=value), append_action=_Overwrite)


def _asks_for_namespaces(policies: Sequence[RateLimitPolicy]) -> bool:
    wanted = BucketKey(BucketKind.NAMESPACE)
    return any(wanted in limit.buckets for policy in policies for limit in policy.spec.limits)


def _caller_namespace() -> header_to_metadata_pb2.Config:
    """The namespace out of the caller's identity, which no format of Envoy's can cut out."""
    found = header_to_metadata_pb2.Config.KeyValuePair(metadata_namespace=CALLER_METADATA, key=NAMESPACE_KEY)
    found.regex_value_rewrite.pattern.CopyFrom(regex_pb2.RegexMatcher(regex="^spiffe://[^/]+/ns/([^/]+)/.*$"))
    found.regex_value_rewrite.substitution = r"\1"
    rule = header_to_metadata_pb2.Config.Rule(header=CALLER_HEADER, on_header_present=found, remove=True)
    return header_to_metadata_pb2.Config(request_rules=[rule])


def _told(policies: Sequence[RateLimitPolicy]) -> header_to_metadata_pb2.Config:
    """Takes away the header in which a limit on trial has said no, and notes it where the record has what is tried."""
    noted = ((f"{DRY_RUN_PREFIX}shadow_effective_policy_id", name_of(policies)), (f"{DRY_RUN_PREFIX}shadow_engine_result", "denied"))
    rules = [
        header_to_metadata_pb2.Config.Rule(
            header=_DRY_RUN_HEADER,
            on_header_present=header_to_metadata_pb2.Config.KeyValuePair(metadata_namespace=RBAC_METADATA, key=key, value=value),
            remove=last,
        )
        for (key, value), last in zip(noted, (False, True), strict=True)
    ]
    return header_to_metadata_pb2.Config(request_rules=rules)


def _number(field: int, value: int) -> bytes:
    """One field that holds a number, for a message whose descriptor does not know it."""
    return varint(field << 3) + varint(value)
