"""Issuers of end users' tokens as the API shows them."""

import json
from collections.abc import Sequence
from typing import Any

from hauberk.sources.jwks import KeyRing, KeyState


class ServedIssuers:
    """The places that keys are fetched from, in the API's shape."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def issuers(self) -> Sequence[dict[str, Any]]:
        """Every place that a rule names, what is known of it, and who names it."""
        return [_document(state) for state in self._keys.states]


def _document(state: KeyState) -> dict[str, Any]:
    document = {
        "jwksUri": state.source.uri,
        "issuer": state.source.issuer,
        "keys": [str(key.get("kid", "")) for key in json.loads(state.jwks)["keys"]] if state.jwks else [],
        "leftOut": list(state.left_out),
        "fetchedAt": state.fetched.isoformat(timespec="seconds") if state.fetched is not None else "",
        "problem": state.problem,
        "usedBy": [{"object": str(use.object), "path": use.path} for use in state.uses],
    }
    return {name: value for name, value in document.items() if value or name == "keys"}
