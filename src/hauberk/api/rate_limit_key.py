"""By what a rate limit tells requests apart: the same words as the keys of a condition, and the parts of the request itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hauberk.api.condition_key import ConditionKeyError, parse_condition_key


class BucketKind(StrEnum):
    """What has a bucket of its own for each of its values; of those with a name in brackets, the word before them."""

    PRINCIPAL = "source.principal"
    NAMESPACE = "source.namespace"
    SOURCE_IP = "source.ip"
    REMOTE_IP = "remote.ip"
    REQUEST_PRINCIPAL = "request.auth.principal"
    CLAIM = "request.auth.claims"
    HEADER = "request.headers"
    HOST = "request.host"
    METHOD = "request.method"
    PATH = "request.path"


_BY_WORD = {kind.value: kind for kind in BucketKind}
_OF_REQUEST = {kind.value: kind for kind in (BucketKind.HOST, BucketKind.METHOD, BucketKind.PATH)}


@dataclass(frozen=True, slots=True)
class BucketKey:
    """`name` is the header in lower case or the claim's path; else empty."""

    kind: BucketKind
    name: tuple[str, ...] = ()


def parse_bucket_key(text: str) -> BucketKey:
    """What `text` names; ConditionKeyError says why it names nothing."""
    if kind := _OF_REQUEST.get(text):
        return BucketKey(kind)
    key = parse_condition_key(text)
    kind = _BY_WORD.get(key.kind.value)
    if kind is None:
        raise ConditionKeyError(f"requests cannot be told apart by {text}")
    return BucketKey(kind, key.name)


def bucket_words() -> tuple[str, ...]:
    """Every key as it is written."""
    named = {BucketKind.HEADER: "[NAME]", BucketKind.CLAIM: "[NAME]"}
    return tuple(f"{kind}{named.get(kind, '')}" for kind in BucketKind)
