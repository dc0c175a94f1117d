"""Whom this machine's Envoys refuse, as the layer that each of them is told."""

from hauberk.identity.trust import Revoked
from hauberk.translate.revocation import encode_revoked
from hauberk.xds.layers import Layer

SLOT = "revoked"


def build_revoked_layer(revoked: Revoked, previous: Layer | None = None) -> Layer:
    """One layer for all sidecars; the very same as `previous` if it tells nothing else."""
    return Layer.of(SLOT, encode_revoked(revoked), previous)
