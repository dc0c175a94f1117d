"""What a policy is attached to by name (`targetRefs` of the Gateway API)."""

from __future__ import annotations

from hauberk.api.model import ApiModel

MOST_TARGETS = 16


class TargetRef(ApiModel):
    """One object; `namespace` may only repeat the policy's own."""

    group: str = ""
    kind: str
    name: str
    namespace: str = ""
