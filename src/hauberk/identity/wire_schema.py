"""The protobuf messages of `hauberk.identity.v1`, made from a table in a pool of their own.

Private, because a pool that is shared with a library refuses to start when both know a file of one name. No generated files:
the table below is the schema, and a field's number is never given to another.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE: Final = "hauberk.identity.v1"

_SCALARS: Final = {
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "uint64": descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
    "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
}

# Message -> fields in the order of their numbers, which begin with 1: "type name", "repeated type name", "optional type name"
# (presence is told from zero), "oneof:GROUP type name" (one of its group at most).
Schema = Mapping[str, tuple[str, ...]]

# Times are milliseconds since 1970 in UTC.
_MESSAGES: Final[Schema] = {
    "Pod": ("string namespace", "string name", "string uid"),
    "Selector": ("string kind", "string value"),
    "Entry": ("string name", "repeated Selector evidence"),
    "Agent": (),
    "Subject": ("oneof:of Pod pod", "oneof:of Entry entry", "oneof:of Agent agent"),
    "IssueRequest": ("bytes csr_der", "Subject subject", "optional int64 lifetime_seconds"),
    "IssueReply": ("repeated bytes chain_der", "int64 trust_sequence", "string authority_id"),
    "TokenRequest": ("Subject subject", "repeated string audience", "optional int64 lifetime_seconds"),
    "TokenReply": ("string token", "int64 expires"),
    "JoinRequest": ("string token", "string node", "bytes csr_der"),
    "Holder": (
        "Subject subject",
        "int64 sequence",
        "string serial",
        "string authority_id",
        "int64 not_after",
        "string problem",
        "string spiffe_id",
    ),
    "Report": ("int64 sequence", "int64 node_time", "repeated Holder holders"),
    "JwtKey": ("string key_id", "string jwk"),
    "HeldSerial": ("string serial", "string pod"),
    "Revoked": ("repeated string serials", "repeated string identities", "repeated string pods", "repeated HeldSerial holders"),
    "ForeignBundle": (
        "string trust_domain",
        "repeated bytes x509_authorities",
        "repeated JwtKey jwt_keys",
        "uint64 sequence",
        "int64 refresh_hint_seconds",
    ),
    "Trust": (
        "int64 sequence",
        "string trust_domain",
        "repeated bytes x509_authorities",
        "repeated JwtKey jwt_keys",
        "repeated bytes crls",
        "Revoked revoked",
        "repeated ForeignBundle federated",
        "repeated string renew",
        "int64 refresh_hint_seconds",
        "repeated string aliases",
        "int64 renewal_window_seconds",
    ),
}


def message(name: str) -> Any:
    """The class of the message `name`; its values are read and written by the typed ones of `wire` and `trust` only."""
    return _CLASSES[name]


def build_messages(schema: Schema, *, file: str, package: str) -> dict[str, Any]:
    """The classes of the messages of `schema`, by name, in a pool that nothing else is in."""
    described = descriptor_pb2.FileDescriptorProto(name=file, package=package, syntax="proto3")
    prefix = f"{package}." if package else ""
    for name, fields in schema.items():
        _describe(described.message_type.add(name=name), fields, prefix)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(described)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(prefix + name)) for name in schema}


def _describe(described: descriptor_pb2.DescriptorProto, fields: Iterable[str], prefix: str) -> None:
    groups: dict[str, int] = {}
    later: list[tuple[descriptor_pb2.FieldDescriptorProto, str]] = []
    for number, text in enumerate(fields, start=1):
        *label, kind, name = text.split()
        field = described.field.add(name=name, number=number, label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL)
        if kind in _SCALARS:
            field.type = _SCALARS[kind]
        else:
            field.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
            field.type_name = f".{prefix}{kind}"
        match label:
            case []:
                continue
            case ["repeated"]:
                field.label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
            case ["optional"]:
                # In proto3 presence is a group of one, which must come after all true groups.
                field.proto3_optional = True
                later.append((field, f"_{name}"))
            case _:
                group = label[0].removeprefix("oneof:")
                if group not in groups:
                    groups[group] = len(described.oneof_decl)
                    described.oneof_decl.add(name=group)
                field.oneof_index = groups[group]
    for field, group in later:
        field.oneof_index = len(described.oneof_decl)
        described.oneof_decl.add(name=group)


_CLASSES: Final = build_messages(_MESSAGES, file="hauberk/identity/v1/citadel.proto", package=PACKAGE)
