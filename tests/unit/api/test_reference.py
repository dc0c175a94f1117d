"""The reference of kinds names every field; its tables are made from the types."""

from importlib import import_module
from pathlib import Path

import pytest

from hauberk.api.model import ApiModel

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
PAGES = {
    "authorization-policy": [
        *("authorization_policy:AuthorizationPolicySpec", "authorization_rule:Source", "authorization_rule:Operation"),
        "authorization_rule:Condition",
    ],
    "request-authentication": [
        *("request_authentication:RequestAuthenticationSpec", "jwt_rule:JwtRule", "jwt_rule:JwtHeader", "jwt_rule:ClaimToHeader"),
    ],
    "rate-limit-policy": [
        *("rate_limit_policy:RateLimitPolicySpec", "rate_limit:Limit", "rate_limit:LimitMatch", "rate_limit:HeaderMatch"),
    ],
    "mesh-config": [
        *("mesh_config:MeshConfig", "mesh_config:HauberkSettings", "extension_provider:ExtensionProvider"),
        *("extension_provider:EnvoyExtAuthzGrpc", "extension_provider:RequestBody"),
    ],
}
# What is said in words, and not only in the table.
TOLD = {
    "authorization-policy": ["authorization_policy:AuthorizationPolicySpec", "authorization_rule:Source", "authorization_rule:Operation"],
    "request-authentication": ["request_authentication:RequestAuthenticationSpec", "jwt_rule:JwtRule"],
    "rate-limit-policy": ["rate_limit:Limit"],
    "mesh-config": ["mesh_config:HauberkSettings", "extension_provider:EnvoyExtAuthzHttp"],
}
TOLD_ELSEWHERE = {"rules", "jwtRules", "name", "port", "clearRouteCache", "rootNamespace", "enableAutoMtls"}


def model(name: str) -> type[ApiModel]:
    module, _, class_name = name.partition(":")
    found: type[ApiModel] = getattr(import_module(f"hauberk.api.{module}"), class_name)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_the_tables_of_its_types(page: str) -> None:
    text = (REFERENCE / f"{page}.md").read_text()
    for name in PAGES[page]:
        assert f"{{field-table}} hauberk.api.{name}\n" in text, name
        assert model(name).model_fields


@pytest.mark.parametrize("page", TOLD)
def test_a_page_says_what_each_field_means(page: str) -> None:
    text = (REFERENCE / f"{page}.md").read_text()
    for name in TOLD[page]:
        for attribute, field in model(name).model_fields.items():
            word = field.alias or attribute
            negative = attribute.startswith("not_")
            assert negative or word in TOLD_ELSEWHERE or f"`{word}" in text or f".{word}" in text, (name, word)
