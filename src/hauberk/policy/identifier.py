"""Names of rules as Envoy reports them and dashboards parse them: ns[shop]-policy[orders]-rule[0]."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"ns\[(?P<namespace>[^\[\]]*)\]-policy\[(?P<policy>[^\[\]]*)\]-rule\[(?P<rule>\d+)\]")


@dataclass(frozen=True, slots=True, order=True)
class RuleId:
    """One rule of one policy."""

    namespace: str
    policy: str
    rule: int

    def __str__(self) -> str:
        return f"ns[{self.namespace}]-policy[{self.policy}]-rule[{self.rule}]"


def parse_rule_id(text: str) -> RuleId | None:
    """The rule that a name stands for, None if it stands for none."""
    found = _NAME.fullmatch(text)
    return RuleId(found["namespace"], found["policy"], int(found["rule"])) if found else None
