"""Objects survive being documents, and being JSON."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Literal, get_origin

import pytest
from pydantic import ValidationError

from hauberk.api.document import UnknownKind, from_document, from_json, to_document, to_json, without_empty
from hauberk.api.kinds import KINDS
from hauberk.api.model import ApiModel
from hauberk.api.selector import Operator
from hauberk.api.sift import Nested, nested_fields

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "a", "annotations": {"empty": ""}, "creationTimestamp": "2026-01-01T00:00:00Z"},
    "spec": {"containers": [{"name": "a", "args": ["", "x"], "lifecycle": {}, "env": [{"name": "A"}]}]},
    "status": {"phase": "Running", "containerStatuses": [{"name": "a", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}]},
}


def models() -> Iterator[type[ApiModel]]:
    waiting: list[type[ApiModel]] = [kind.model for kind in KINDS]
    seen: set[type[ApiModel]] = set()
    while waiting:
        model = waiting.pop()
        if model not in seen:
            seen.add(model)
            yield model
            waiting += [nested[0] for nested in nested_fields(model).values() if nested]


def test_an_object_survives_being_a_document_and_json() -> None:
    pod = from_document(POD)
    assert from_document(to_document(pod)) == pod
    assert from_json("Pod", to_json(pod)) == pod


def test_empty_fields_are_left_out_but_not_what_users_named_or_listed() -> None:
    document = to_document(from_document(POD))
    assert "uid" not in document["metadata"]
    assert document["metadata"]["annotations"] == {"empty": ""}
    assert document["spec"]["containers"][0]["args"] == ["", "x"]
    assert "lifecycle" not in document["spec"]["containers"][0]


def test_a_state_without_details_stays_one() -> None:
    pod = from_document({**POD, "status": {"containerStatuses": [{"name": "a", "state": {"waiting": {}}}]}})
    assert to_document(pod)["status"]["containerStatuses"][0]["state"] == {"waiting": {}}


def test_an_empty_rule_stays_one() -> None:
    document = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "a"}, "spec": {"rules": [{}]}}
    assert to_document(from_document(document))["spec"]["rules"] == [{}]


def test_every_version_of_a_kind_is_read_as_its_first() -> None:
    for kind in KINDS:
        for version in kind.api_versions:
            spec = {
                "Pod": POD["spec"],
                "Deployment": {"selector": {}, "template": {"spec": POD["spec"]}},
                "RateLimitPolicy": {"limits": [{"name": "a", "requests": 1, "per": "second"}]},
            }.get(kind.name, {})
            document = {"apiVersion": version, "kind": kind.name, "metadata": {"name": "a"}, **({"spec": spec} if spec else {})}
            assert from_document(document).api_version == kind.api_versions[0]


def test_a_document_of_no_kind_is_refused() -> None:
    with pytest.raises(UnknownKind):
        from_document({"kind": "Secret"})
    with pytest.raises(ValidationError):
        from_document({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [], "x": 1}})


def minimal(model: type[ApiModel]) -> dict[str, Any]:
    """A document with the required fields only."""
    nested = nested_fields(model)
    required = {field.alias or name: field.annotation for name, field in model.model_fields.items() if field.is_required()}
    return {
        alias: below(nested[alias], annotation) if nested[alias] else SAMPLES.get(annotation, 1) for alias, annotation in required.items()
    }


def below(nested: Nested | None, annotation: Any) -> Any:
    assert nested
    document = minimal(nested[0])
    return [document] if get_origin(annotation) is tuple else document


SAMPLES: dict[Any, Any] = {
    timedelta: "1s",
    str: "x",
    tuple[str, ...]: ["x"],
    Literal["True", "False", "Unknown"]: "True",
    Operator: "Exists",
}
CASES = [
    pytest.param(model, field.alias or name, id=f"{model.__name__}-{name}")
    for model in models()
    for name, field in model.model_fields.items()
    if not field.is_required()
]


@pytest.mark.parametrize(("model", "alias"), CASES)
def test_an_empty_value_comes_back_as_it_was(model: type[ApiModel], alias: str) -> None:
    nested = nested_fields(model)[alias]
    empties: list[Any] = ["", [], {}, [""], {"a": ""}]
    empties += [minimal(nested[0]), [minimal(nested[0])], {"8080": minimal(nested[0])}] if nested else []
    accepted = 0
    for empty in empties:
        try:
            value = model.model_validate({**minimal(model), alias: empty})
        except ValidationError:
            continue  # a value of another type than the field's
        accepted += 1
        assert model.model_validate(without_empty(value.model_dump(mode="json", by_alias=True, exclude_none=True), model)) == value
    assert accepted or nested is None
