import re

import pytest
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2 as filter_pb2
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2

from hauberk.translate.mesh_headers import client_address, reserved_headers, without_lookalikes


def _expressions(mutations: object) -> list[str]:
    return [each.remove_on_match.key_matcher.safe_regex.regex for each in mutations]  # type: ignore[attr-defined]


def _removes(names: list[str], header: str) -> bool:
    made = without_lookalikes(names) or filter_pb2.HeaderMutationPerRoute()
    return any(re.fullmatch(each, header) for each in _expressions(made.mutations.request_mutations))


@pytest.mark.parametrize(
    ("header", "gone"),
    [
        *((name, True) for name in ("x-envoy-internal", "x_envoy-retry-on", "x-envoy_max_retries", "x-hauberk-unique")),
        *((name, True) for name in ("x-forwarded-client-cert", "x_forwarded_client_cert", "x-forwarded_client-cert")),
        *((name, False) for name in ("x-forwarded-for", "x-envoy", "x-envoys", "my-x-envoy-internal", "x-forwarded-client-certs")),
        *((name, False) for name in ("host", ":path", "x-request-id", "x-hauberks")),
    ],
)
def test_what_only_the_mesh_may_say_is_taken_away(header: str, gone: bool) -> None:
    made = header_mutation_pb2.HeaderMutation()
    assert reserved_headers().typed_config.Unpack(made)
    assert any(re.fullmatch(each, header) for each in _expressions(made.mutations)) is gone


@pytest.mark.parametrize("header", ["x_tenant", "x_tenant_id", "x-tenant_id", "x_tenant-id"])
def test_a_header_that_looks_like_one_that_is_asked_about_is_taken_away(header: str) -> None:
    assert _removes(["x-tenant-id", "x-tenant"], header)


def test_headers_that_are_asked_about_stay_whatever_they_look_like() -> None:
    asked = ["api-key", "api_key", "tenant"]
    assert without_lookalikes(asked) is None
    assert not _removes([*asked, "x-other"], "api_key")


def test_a_policy_may_ask_about_the_one_with_an_underscore() -> None:
    assert _removes(["api_key"], "api-key")
    assert not _removes(["api_key"], "api_key")


def test_a_name_with_many_dashes_has_lookalikes_too() -> None:
    name = "a-b-c-d-e-f-g-h"
    assert not _removes([name], name)
    assert all(_removes([name], each) for each in (name.replace("-", "_"), "a_b-c-d-e-f-g-h", "a-b-c-d_e-f-g_h"))


def test_signs_that_mean_something_in_an_expression_mean_themselves() -> None:
    assert _removes(["x.y-z"], "x.y_z")
    assert not _removes(["x.y-z"], "xay_z")


def test_the_order_of_names_makes_no_difference() -> None:
    assert without_lookalikes(["b-c", "a-b"]) == without_lookalikes(["a-b", "b-c", "a-b"])


def test_the_client_is_who_connects_unless_hops_are_trusted() -> None:
    assert client_address(None).name.endswith("custom_header")
    assert client_address(0).name.endswith("xff")
    assert client_address(2) != client_address(0)
