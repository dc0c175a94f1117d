"""The URI of a token: what RFC 7512 says of the parts that are understood, and never a PIN in it."""

from pathlib import Path

import pytest

from hauberk.citadel.token_uri import InvalidTokenUri, parse_token_uri

MODULE = "module-path=/usr/lib/softhsm/libsofthsm2.so"
PIN = "pin-source=file:/etc/hauberk/pin"


def test_a_token_is_named_by_what_it_says_of_itself() -> None:
    uri = parse_token_uri(f"pkcs11:token=The%20mesh;serial=17?{MODULE}&{PIN}", "SETTING")
    assert (uri.token, uri.serial, uri.model) == ("The mesh", "17", None)
    assert (uri.module, uri.pin_file) == (Path("/usr/lib/softhsm/libsofthsm2.so"), Path("/etc/hauberk/pin"))
    assert str(uri) == "the token pkcs11:token=The mesh;serial=17"


@pytest.mark.parametrize("pin", ["/etc/hauberk/pin", "file:/etc/hauberk/pin", "file:///etc/hauberk/pin"])
def test_the_pin_file_is_a_path_or_a_file_uri(pin: str) -> None:
    assert parse_token_uri(f"pkcs11:token=a?{MODULE}&pin-source={pin}", "SETTING").pin_file == Path("/etc/hauberk/pin")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("token=a", "does not begin with pkcs11:"),
        (f"pkcs11:?{MODULE}&{PIN}", "says nothing of the token"),
        (f"pkcs11:token=a?{PIN}", "no module-path"),
        (f"pkcs11:token=a?{MODULE}", "no pin-source"),
        (f"pkcs11:token=a?{MODULE}&pin-source=pin", "no pin-source with an absolute path"),
        (f"pkcs11:token=a;token=b?{MODULE}&{PIN}", "'token' is there twice"),
        (f"pkcs11:token=a;object=b?{MODULE}&{PIN}", "object is not understood"),
        (f"pkcs11:token?{MODULE}&{PIN}", "'token' has no value"),
        (f"pkcs11:token=a?{MODULE}&pin-value=12345678", "does not belong into a setting"),
    ],
)
def test_what_names_no_token_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(InvalidTokenUri, match=reason) as caught:
        parse_token_uri(text, "SETTING")
    assert str(caught.value).startswith("SETTING: it is not the URI")
    assert "12345678" not in str(caught.value)
