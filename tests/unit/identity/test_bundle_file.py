import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.unit.identity.conftest import Authorities

from hauberk.identity.bundle_document import InvalidBundle, encode_bundle
from hauberk.identity.bundle_file import parse_bundle_file
from hauberk.identity.trust import ForeignBundle
from hauberk.identity.trust_bundle import to_pem


def test_a_bundle_may_be_pem_or_a_spiffe_document(authorities: Authorities) -> None:
    pem = f"# a note\n{to_pem(authorities.root)}\n{to_pem(authorities.issuing)}{to_pem(authorities.root)}".encode()
    bundle = ForeignBundle(trust_domain="b.td", x509_authorities=(authorities.root, authorities.issuing))
    assert parse_bundle_file(pem, "b.td").bundle == bundle
    assert parse_bundle_file(encode_bundle(bundle), "b.td").bundle == bundle


def test_one_broken_certificate_in_pem_refuses_the_file_and_is_named(authorities: Authorities) -> None:
    good = to_pem(authorities.root)
    broken = good.replace("MII", "MIJ", 1)
    for wrong, said in ((broken, "certificate 2 cannot"), (to_pem(authorities.leaf()), "certificate 2:"), (good[:-30], "does not end")):
        with pytest.raises(InvalidBundle, match=said):
            parse_bundle_file((good + wrong + good).encode(), "b.td")


def test_a_private_key_in_the_file_is_refused(authorities: Authorities) -> None:
    key = authorities.root_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(InvalidBundle, match="private key"):
        parse_bundle_file(to_pem(authorities.root).encode() + key, "b.td")
