"""What rate limits ask about requests: what can be read in two ways would be counted elsewhere than it is served."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from hauberk.api.rate_limit import Limit
from hauberk.api.rate_limit_key import BucketKind
from hauberk.api.rate_limit_policy import RateLimitPolicy
from hauberk.policy.attribute import Attribute, Kind

_OF_REQUEST: Final = {
    BucketKind.HOST: Kind.HOST,
    BucketKind.METHOD: Kind.METHOD,
    BucketKind.PATH: Kind.PATH,
    BucketKind.HEADER: Kind.HEADER,
}


def limited_attributes(policies: Iterable[RateLimitPolicy]) -> frozenset[Attribute]:
    """Parts of requests by which limits that are enforced choose requests, or tell them apart."""
    limits = (limit for policy in policies if not policy.dry_run for limit in policy.spec.limits)
    return frozenset(attribute for limit in limits for attribute in _attributes(limit))


def _attributes(limit: Limit) -> Iterator[Attribute]:
    match = limit.match
    for kind, values in (
        (Kind.METHOD, match.methods + match.not_methods),
        (Kind.PATH, match.paths + match.not_paths),
        (Kind.HOST, match.hosts + match.not_hosts),
    ):
        if values:
            yield Attribute(kind)
    yield from (Attribute(Kind.HEADER, (header.name.lower(),)) for header in match.headers)
    yield from (Attribute(_OF_REQUEST[key.kind], key.name) for key in limit.buckets if key.kind in _OF_REQUEST)
