"""ServiceAccount: the identity that pods run as; its SPIFFE ID follows from namespace and name alone."""

from __future__ import annotations

from typing import ClassVar, Literal

from hauberk.api.metadata import ApiObject


class ServiceAccount(ApiObject):
    """An identity."""

    HARMLESS: ClassVar[frozenset[str]] = frozenset({"secrets", "imagePullSecrets", "automountServiceAccountToken"})

    api_version: Literal["v1"] = "v1"
    kind: Literal["ServiceAccount"] = "ServiceAccount"
