"""What one rule of an AuthorizationPolicy asks (S-A3, S-A4): who calls (`from`), what for (`to`), and under which conditions (`when`)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from hauberk.api.condition_key import ConditionKey, parse_condition_key
from hauberk.api.model import ApiModel

Values = tuple[str, ...]


class Action(StrEnum):
    """What a matching rule does. AUDIT only leaves a note; CUSTOM asks an external service, which may refuse."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    AUDIT = "AUDIT"
    CUSTOM = "CUSTOM"


class Source(ApiModel):
    """The caller: fields are AND, the values of one field are OR, and each `not_` field excludes all its values.

    `ip_blocks` are about the other end of the connection, `remote_ip_blocks` about the client that trusted proxies name.
    """

    principals: Values = ()
    not_principals: Values = ()
    request_principals: Values = ()
    not_request_principals: Values = ()
    namespaces: Values = ()
    not_namespaces: Values = ()
    service_accounts: Values = ()
    not_service_accounts: Values = ()
    trust_domains: Values = ()
    not_trust_domains: Values = ()
    ip_blocks: Values = ()
    not_ip_blocks: Values = Field(default=(), alias="notIpBlocks")
    remote_ip_blocks: Values = Field(default=(), alias="remoteIpBlocks")
    not_remote_ip_blocks: Values = Field(default=(), alias="notRemoteIpBlocks")


class Operation(ApiModel):
    """The request: combined like the fields of `Source`; `ports` are the workload's own ports."""

    hosts: Values = ()
    not_hosts: Values = ()
    ports: Values = ()
    not_ports: Values = ()
    methods: Values = ()
    not_methods: Values = ()
    paths: Values = ()
    not_paths: Values = ()


class From(ApiModel):
    """One entry of `from`."""

    source: Source


class To(ApiModel):
    """One entry of `to`."""

    operation: Operation


class Condition(ApiModel):
    """One entry of `when`: what `key` names is one of `values`, and none of `not_values`; one of the two lists is needed."""

    key: str
    values: Values = ()
    not_values: Values = ()

    @property
    def parsed(self) -> ConditionKey:
        """What `key` names; ConditionKeyError if nothing, which no accepted policy holds."""
        return parse_condition_key(self.key)


class Rule(ApiModel):
    """Any of `from_`, any of `to`, and all of `when`; what is absent matches everything."""

    from_: Annotated[tuple[From, ...], Field(min_length=1)] | None = None
    to: Annotated[tuple[To, ...], Field(min_length=1)] | None = None
    when: tuple[Condition, ...] = ()
