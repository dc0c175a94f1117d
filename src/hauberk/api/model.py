"""The base of every type that users write: frozen, strict about names and types, spelled in YAML as Kubernetes spells it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, StrictBool, StrictInt
from pydantic_core import PydanticCustomError

Bool = StrictBool  # "yes" in quotes and 1 are not booleans, as in Kubernetes
Int = StrictInt
Count = Annotated[StrictInt, Field(ge=0, le=2**31 - 1)]
Positive = Annotated[StrictInt, Field(ge=1, le=2**31 - 1)]
Port = Annotated[StrictInt, Field(ge=1, le=65535)]
UserId = Annotated[StrictInt, Field(ge=0, le=2**31 - 1)]
Json = dict[str, Any]  # a document as the json module gives it

_ABBREVIATIONS = {"ip": "IP", "ips": "IPs", "uid": "UID", "id": "ID"}


def yaml_name(attribute: str) -> str:
    """The name in YAML of a Python attribute: `pod_ip` is podIP, `from_` is from."""
    first, *rest = attribute.rstrip("_").split("_")
    return first + "".join(_ABBREVIATIONS.get(word, word.title()) for word in rest)


class ApiModel(BaseModel):
    """One mapping in a document.

    Three sets name the fields of the real type that have no attribute here, so that a reader of this mesh's problems can tell
    a typing error from a limit: `HARMLESS` are left out with an info, `IGNORED` with a warning, `UNSUPPORTED` are errors.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=yaml_name, validate_by_name=True, validate_by_alias=True, hide_input_in_errors=True
    )

    HARMLESS: ClassVar[frozenset[str]] = frozenset()
    IGNORED: ClassVar[frozenset[str]] = frozenset()
    UNSUPPORTED: ClassVar[frozenset[str]] = frozenset()


def _int_or_string(value: Any) -> int | str:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise PydanticCustomError("int_or_string_type", "Input should be an integer or a string")


# One validator instead of a union: pydantic puts the tried member types of a union into the path of an error.
IntOrString = Annotated[int | str, PlainValidator(_int_or_string), PlainSerializer(lambda value: value, return_type=int | str)]
