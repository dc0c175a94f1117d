"""Headers that only the mesh may set, and headers that look like those that policies ask about.

Whoever sends a request can write any header into it. Those by which proxies tell each other something would be believed by this
Envoy, or by a program that thinks its proxy wrote them: they are taken away where a request enters a sidecar, from its own program
and from every caller. Programs that read headers as CGI does cannot tell `x-tenant` from `x_tenant`: of two such headers only that
one passes which a policy has looked at. Header names with underscores are otherwise the programs' own affair.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Final

from envoy.config.common.mutation_rules.v3 import mutation_rules_pb2
from envoy.config.core.v3 import extension_pb2
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2 as filter_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2
from envoy.extensions.http.original_ip_detection.custom_header.v3 import custom_header_pb2
from envoy.extensions.http.original_ip_detection.xff.v3 import xff_pb2
from envoy.type.matcher.v3 import regex_pb2, string_pb2

from hauberk.envoy.message import any_
from hauberk.policy.pattern import quote

LOOKALIKES: Final = "hauberk.lookalikes"

_Mutation = mutation_rules_pb2.HeaderMutation
# With either of the two signs: programs that take them for the same must not be fooled either.
_RESERVED: Final = "x[-_](envoy[-_].*|hauberk[-_].*|forwarded[-_]client[-_]cert)"
# A name that `reserved_headers` takes away: no request has it.
_NO_HEADER: Final = "x-hauberk-client-address"
# More ways to write a name than these are written as an expression.
_MOST_DASHES: Final = 4


def reserved_headers() -> extension_pb2.TypedExtensionConfig:
    """Removes what only the mesh may say, before anything else is done with a request."""
    return extension_pb2.TypedExtensionConfig(
        name="envoy.http.early_header_mutation.header_mutation",
        typed_config=any_(header_mutation_pb2.HeaderMutation(mutations=[_removed(_RESERVED)])),
    )


def client_address(trusted_hops: int | None) -> extension_pb2.TypedExtensionConfig:
    """Where the address of a request's client comes from: with None the connection, whatever `x-forwarded-for` says.

    With `trusted_hops` the header is believed as in Istio: the last address is the client's, or that many before it.
    """
    if trusted_hops is None:
        # Envoy believes the header unless it is told to look elsewhere, and takes the connection's address if there is nothing.
        elsewhere = custom_header_pb2.CustomHeaderConfig(header_name=_NO_HEADER)
        return extension_pb2.TypedExtensionConfig(name="envoy.http.original_ip_detection.custom_header", typed_config=any_(elsewhere))
    believed = xff_pb2.XffConfig(xff_num_trusted_hops=trusted_hops)
    return extension_pb2.TypedExtensionConfig(name="envoy.http.original_ip_detection.xff", typed_config=any_(believed))


def lookalikes_filter() -> hcm_pb2.HttpFilter:
    """Does nothing by itself; the route says which headers `without_lookalikes` knows."""
    return hcm_pb2.HttpFilter(name=LOOKALIKES, typed_config=any_(filter_pb2.HeaderMutation()), disabled=True)


def without_lookalikes(names: Iterable[str]) -> filter_pb2.HeaderMutationPerRoute | None:
    """Removes headers that a program may take for one of `names`, except those that are themselves among them; None: there are none."""
    asked = sorted(set(names))
    removed = [_removed(expression) for name in asked for expression in _lookalikes(name, asked)]
    if not removed:
        return None
    return filter_pb2.HeaderMutationPerRoute(mutations=filter_pb2.Mutations(request_mutations=removed))


def _lookalikes(name: str, asked: list[str]) -> list[str]:
    """Expressions for all that differs from `name` in nothing but dashes and underscores."""
    parts = name.replace("_", "-").split("-")
    if len(parts) == 1:
        return []
    if len(parts) <= _MOST_DASHES + 1:
        others = (_joined(parts, signs) for signs in product("-_", repeat=len(parts) - 1))
        spared = {name, *(each for each in asked if each.replace("_", "-") == name.replace("_", "-"))}
        found = "|".join(quote(each) for each in others if each not in spared)
        return [found] if found else []
    return _differing(name)


def _joined(parts: list[str], signs: tuple[str, ...]) -> str:
    return "".join(part + sign for part, sign in zip(parts, (*signs, ""), strict=True))


def _differing(name: str) -> list[str]:
    # RE2 cannot exclude one text: one expression for each place where the other sign stands.
    places = [index for index, letter in enumerate(name) if letter in "-_"]
    either = ["[-_]" if letter in "-_" else quote(letter) for letter in name]
    return ["".join([*either[:at], "_" if name[at] == "-" else "-", *either[at + 1 :]]) for at in places]


def _removed(expression: str) -> _Mutation:
    matcher = string_pb2.StringMatcher(safe_regex=regex_pb2.RegexMatcher(regex=expression))
    return _Mutation(remove_on_match=_Mutation.RemoveOnMatch(key_matcher=matcher))
