"""Tokens (JWT) of end users, verified by the sidecar of the program that they are sent to (RequestAuthentication, S-J1 to S-J8).

The filter stands in every inbound chain, disabled. Whose tokens it verifies is a resource of its own (extension configuration, discovered
over the same stream as everything else), which the route configuration switches on; so changed rules or keys change no listener, end no
connection, and hold for the next request.

Every token, wherever it stands, is verified: each place is asked by itself, and a request with one bad token is refused whatever else it
carries. Envoy would take a request as soon as one issuer's tokens are good, and would pass the others on unseen. Of two good tokens the
one in the more important place says who the caller is, to policies and to the program alike.

A header that a claim is written to never comes from the caller, whether or not the request has a token: Envoy takes headers away only
for the issuers it comes to ask, so the first of all questions is one about no token, and concerns every such header.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace
from typing import Final

from envoy.config.core.v3 import base_pb2, config_source_pb2, extension_pb2, http_uri_pb2
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2
from google.protobuf import any_pb2

from hauberk.api.jwt_rule import ClaimToHeader, JwtHeader, JwtRule
from hauberk.envoy.message import TYPE_PREFIX, ads, any_, duration
from hauberk.envoy.name import BLACK_HOLE
from hauberk.mesh.request_authentication import TokenRule
from hauberk.policy.token_place import TokenPlace, places_of
from hauberk.translate import one_token
from hauberk.translate.encode import encode_resource
from hauberk.xds.resource import Resource

Provider = config_pb2.JwtProvider
Requirement = config_pb2.JwtRequirement
Tokens = tuple[TokenRule, ...]

# Claims are found by policies under this name and PAYLOAD, and by nobody else's name: Envoy writes them so.
FILTER: Final = "envoy.filters.http.jwt_authn"
PAYLOAD: Final = "payload"
_REQUIREMENT: Final = "hauberk"
_ALWAYS_LISTS: Final = ("scope", "permission")
_REMEMBERED: Final = 100  # tokens, of each rule at each place
# No client sends it; one who does refers to keys that there are not, and is refused.
_NOWHERE: Final = JwtHeader(name="x-hauberk-no-token")


def http_filter() -> hcm_pb2.HttpFilter:
    """Verifies tokens where the route asks for it."""
    # It is waited for: a sidecar that began without it would believe any token.
    source = config_source_pb2.ExtensionConfigSource(
        config_source=ads(), type_urls=[TYPE_PREFIX + config_pb2.JwtAuthentication.DESCRIPTOR.full_name]
    )
    return hcm_pb2.HttpFilter(name=FILTER, config_discovery=source, disabled=True)


def token_filters(places: tuple[TokenPlace, ...]) -> dict[str, any_pb2.Any]:
    """What filters are told by the route of a workload that verifies tokens in `places`; without any, nothing."""
    if not places:
        return {}
    verify = any_(config_pb2.PerRouteConfig(requirement_name=_REQUIREMENT))
    return {one_token.FILTER: one_token.places_by_route(places), FILTER: verify}


def encode_tokens(tokens: Tokens) -> Resource:
    """The configuration of the filter; without any rule it is there too, and asks nothing."""
    questions = _Questions(_writing_elsewhere(tokens))
    config = config_pb2.JwtAuthentication(providers=questions.providers, requirement_map={_REQUIREMENT: _all_of(questions.all)})
    # CORS preflights are no exception: browsers send them without tokens, and whoever sends them with one may not forge a header.
    named = extension_pb2.TypedExtensionConfig(name=FILTER, typed_config=any_(config))
    return encode_resource(named, FILTER, dict.fromkeys(str(each.origin) for each in tokens))


def output_headers(tokens: Tokens) -> tuple[str, ...]:
    """Every header that something of a token is written to, once."""
    return tuple(sorted({name for token in tokens for name in _written(token.rule)}))


def _writing_elsewhere(tokens: Tokens) -> Tokens:
    """Rules that write into no header in which a token may stand, by whichever rule: Envoy clears what it writes before it looks there."""
    read = {
        "cookie" if place.kind == "cookie" else place.name for token in tokens for place in places_of(token.rule) if place.kind != "param"
    }
    return tuple(replace(token, rule=_without(token.rule, read)) if read.intersection(_written(token.rule)) else token for token in tokens)


def _without(rule: JwtRule, headers: Set[str]) -> JwtRule:
    """`rule`, and nothing is written into `headers`."""
    payload = rule.output_payload_to_header
    claims = tuple(each for each in rule.output_claim_to_headers if each.header.lower() not in headers)
    return rule.model_copy(
        update={"output_payload_to_header": "" if payload.lower() in headers else payload, "output_claim_to_headers": claims}
    )


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One rule at one place."""

    number: int
    token: TokenRule
    place: TokenPlace


class _Questions:
    """What is asked of every request, in order; all of it must hold. `providers` are whom it is asked about."""

    def __init__(self, tokens: Tokens) -> None:
        self.providers: dict[str, Provider] = {}
        self.all: list[Requirement] = []
        found = [_Candidate(number, token, place) for number, token in enumerate(tokens) for place in places_of(token.rule)]
        places = sorted({each.place for each in found})
        by_place = [[each for each in found if each.place == place] for place in places]
        outputs = tuple(ClaimToHeader(header=name, claim="sub") for name in output_headers(tokens))  # the claim is no matter
        if outputs:
            self._strip(outputs)
        together = len(places) == 1
        if outputs and not together:
            # First who it is, once, for the headers: were each place to write them, two tokens would write them twice.
            self._ask("output", (each for group in by_place for each in group), outputs=True, verifies=False)
        for group in reversed(by_place):
            # The most important place last: what it says of the caller takes the place of what others said.
            self._ask("verify", group, outputs=together, verifies=True)

    def _strip(self, outputs: tuple[ClaimToHeader, ...]) -> None:
        provider = Provider(remote_jwks=_no_keys(), from_headers=[_header(_NOWHERE)], claim_to_headers=_claims(outputs))
        self.providers["strip"] = provider
        self.all.append(_one_of(["strip"]))

    def _ask(self, purpose: str, candidates: Iterable[_Candidate], *, outputs: bool, verifies: bool) -> None:
        named = {f"{purpose}-{each.number}-{each.place}": each for each in candidates}
        for name, each in named.items():
            provider = _provider(each)
            if verifies:
                provider.payload_in_metadata = PAYLOAD
                provider.forward = each.token.rule.forward_original_token
            else:
                provider.forward = True  # it is verified once more, and then taken away
            if outputs:
                provider.forward_payload_header = each.token.rule.output_payload_to_header
                provider.claim_to_headers.extend(_claims(each.token.rule.output_claim_to_headers))
            self.providers[name] = provider
        self.all.append(_one_of(named))


def _all_of(questions: list[Requirement]) -> Requirement:
    """Envoy takes no list of one."""
    if len(questions) > 1:
        return Requirement(requires_all=config_pb2.JwtRequirementAndList(requirements=questions))
    return questions[0] if questions else Requirement()


def _one_of(providers: Iterable[str]) -> Requirement:
    """A token by one of `providers`, or none at all."""
    missing = Requirement()
    missing.allow_missing.SetInParent()
    any_of = [*(Requirement(provider_name=name) for name in providers), missing]
    return Requirement(requires_any=config_pb2.JwtRequirementOrList(requirements=any_of))


def _provider(candidate: _Candidate) -> Provider:
    rule, place = candidate.token.rule, candidate.place
    provider = Provider(
        issuer=rule.issuer,
        audiences=rule.audiences,
        from_headers=[_header(JwtHeader(name=place.name, prefix=place.prefix))] if place.kind == "header" else [],
        from_params=[place.name] if place.kind == "param" else [],
        from_cookies=[place.name] if place.kind == "cookie" else [],
        normalize_payload_in_metadata=Provider.NormalizePayload(space_delimited_claims=_lists(rule)),
    )
    if candidate.token.keys.jwks:
        provider.local_jwks.CopyFrom(base_pb2.DataSource(inline_string=candidate.token.keys.jwks))
        # Of a token that was good its times are still looked at, and with other keys all are forgotten; a signature costs 40 to 70 µs.
        provider.jwt_cache_config.jwt_cache_size = _REMEMBERED
    else:
        provider.remote_jwks.CopyFrom(_no_keys())
    return provider


def _no_keys() -> config_pb2.RemoteJwks:
    """Nobody's keys: they are to be fetched where nothing is, so every token is refused (401), and there is no key to be stolen."""
    return config_pb2.RemoteJwks(http_uri=http_uri_pb2.HttpUri(uri="https://keys.invalid/", cluster=BLACK_HOLE, timeout=duration(1)))


def _lists(rule: JwtRule) -> list[str]:
    return list(dict.fromkeys((*_ALWAYS_LISTS, *rule.space_delimited_claims)))


def _written(rule: JwtRule) -> Iterator[str]:
    if rule.output_payload_to_header:
        yield rule.output_payload_to_header.lower()
    yield from (each.header.lower() for each in rule.output_claim_to_headers)


def _claims(outputs: Iterable[ClaimToHeader]) -> list[config_pb2.JwtClaimToHeader]:
    return [config_pb2.JwtClaimToHeader(header_name=each.header, claim_name=each.claim) for each in outputs]


def _header(header: JwtHeader) -> config_pb2.JwtHeader:
    return config_pb2.JwtHeader(name=header.name, value_prefix=header.prefix)
