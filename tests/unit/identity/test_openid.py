"""What validators read that know OpenID Connect."""

import json

import pytest

from hauberk.identity.openid import build_discovery, build_documents, build_keys
from hauberk.identity.trust import JwtKey

KEY = JwtKey(
    key_id="k1", jwk=json.dumps({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "use": "jwt-svid", "alg": "ES256", "kid": "k1"})
)


def test_the_discovery_document_has_all_that_is_required() -> None:
    document = build_discovery("https://oidc.example.org", "https://oidc.example.org/keys", ["ES256"])
    required = {"issuer", "jwks_uri", "authorization_endpoint", "response_types_supported", "subject_types_supported"}
    assert required | {"id_token_signing_alg_values_supported"} == set(document)
    assert document["id_token_signing_alg_values_supported"] == ["ES256"]


def test_keys_say_what_validators_look_for() -> None:
    (key,) = build_keys([KEY])["keys"]
    assert (key["use"], key["kid"], key["alg"]) == ("sig", "k1", "ES256")


@pytest.mark.parametrize(
    ("issuer", "paths"),
    [
        ("https://a.org", {b"/.well-known/openid-configuration", b"/keys"}),
        ("https://a.org:8443/mesh/one", {b"/mesh/one/.well-known/openid-configuration", b"/mesh/one/keys"}),
    ],
)
def test_documents_lie_below_the_issuer(issuer: str, paths: set[bytes]) -> None:
    documents = build_documents(issuer, [KEY])
    assert set(documents) == paths
    discovery = next(json.loads(text) for path, text in documents.items() if path.endswith(b"configuration"))
    assert (discovery["issuer"], discovery["jwks_uri"]) == (issuer, f"{issuer}/keys")
