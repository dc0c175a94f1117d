"""Issuers of end users' tokens, and how it stands with their keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hauberk.cli.age import age
from hauberk.cli.plain import printable
from hauberk.cli.views import get

Document = dict[str, Any]


def lines(authentication: Document, known: Sequence[Document]) -> Iterator[str]:
    """Each rule of a RequestAuthentication: whose tokens, and whether there are keys to verify them with."""
    metadata = authentication["metadata"]
    name = f"RequestAuthentication/{metadata.get('namespace', '')}/{metadata['name']}"
    rules = get(authentication, "spec", "jwtRules", default=[])
    if rules:
        yield "Issuers:"
    for index, rule in enumerate(rules):
        state = next((each for each in known if {"object": name, "path": f"spec.jwtRules[{index}]"} in each.get("usedBy", [])), None)
        told = "its keys are in the rule" if rule.get("jwks") else keys_of(state)
        yield f"  {printable(str(rule.get('issuer') or 'any issuer'))}: {told}"


def keys_of(state: Document | None) -> str:
    """How it stands with keys that are fetched."""
    if state is None or not (state.get("fetchedAt") or state.get("problem")):
        return "its keys have not been fetched yet; until then every token of it is refused"
    keys, problem = state.get("keys") or [], state.get("problem")
    count = f"{len(keys)} {'key' if len(keys) == 1 else 'keys'}, fetched {age(state.get('fetchedAt'))} ago"
    left_out = f"; left out: {'; '.join(state['leftOut'])}" if state.get("leftOut") else ""
    if not problem:
        return printable(count + left_out)
    return printable(f"{count}, and no newer ones: {problem}" if keys else f"NO KEYS, every token of it is refused: {problem}")


def troubles(known: Sequence[Document]) -> Iterator[str]:
    """What somebody who looks at the whole mesh has to know of issuers: a line for each whose keys cannot be had."""
    for each in known:
        if each.get("problem"):
            rules = ", ".join(sorted({str(use["object"]) for use in each.get("usedBy", [])}))
            yield printable(f"issuer {each.get('issuer') or each.get('jwksUri')} (of {rules}): {keys_of(each)}")
