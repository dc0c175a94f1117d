"""Where keys lie and what guards them, as the environment says it: names of files, never a secret itself.

A setting and its `FORMER` twin describe a change: what is written follows the setting, what exists may still be in the former form or
place. For files the control plane makes the change itself when it starts; a key in another place stays there until it is rotated out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hauberk.citadel.key_file import FileKeyStore
from hauberk.citadel.key_layers import KeyLayers
from hauberk.citadel.key_seal import KeyFile, Passphrase, Plain, Seal, SealBroken
from hauberk.citadel.key_store import KeyStore, KeyUnreadable
from hauberk.citadel.private_file import read_private
from hauberk.citadel.token_uri import InvalidTokenUri, TokenUri, parse_token_uri

PASSPHRASE_VARIABLE = "HAUBERK_CA_PASSPHRASE_FILE"  # noqa: S105 - the name of a setting that names a file
KEY_VARIABLE = "HAUBERK_CA_KEY_FILE"
TOKEN_VARIABLE = "HAUBERK_CA_TOKEN"  # noqa: S105 - likewise
_FORMER = "HAUBERK_CA_FORMER_"
VARIABLES = tuple(
    name for each in (PASSPHRASE_VARIABLE, KEY_VARIABLE, TOKEN_VARIABLE) for name in (each, each.replace("HAUBERK_CA_", _FORMER))
)


class InvalidKeySetting(KeyUnreadable):
    """A setting of the keys cannot be followed; the message names it and never quotes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlace:
    """One way of keeping keys; nothing set: plain files."""

    passphrase_file: Path | None = None
    key_file: Path | None = None
    token: TokenUri | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySettings:
    """How keys are kept, and how they were."""

    place: KeyPlace = field(default_factory=KeyPlace)
    former: KeyPlace = field(default_factory=KeyPlace)


def read_key_settings(environment: Mapping[str, str]) -> KeySettings:
    """What the environment says; raises InvalidKeySetting."""
    return KeySettings(place=_read_place(environment, "HAUBERK_CA_"), former=_read_place(environment, _FORMER))


def open_key_store(directory: Path, settings: KeySettings) -> KeyStore:
    """The keys of the authority that is kept in `directory`, made ready; raises KeyUnreadable.

    With a token, new keys are made in it, and the ones in files go on being used until they are rotated out.
    """
    # Sealing is decided for all files at once, so whoever leaves a token and seals at the same time needs no second start.
    former = _seal_of(settings.former)
    files = FileKeyStore(directory, _seal_of(settings.place) or Plain(), former)
    token, left = settings.place.token, settings.former.token
    stores: list[KeyStore] = [files]
    if left is not None and left != token:
        stores.append(_token_store(directory, left))
    if token is not None:
        stores.insert(0, _token_store(directory, token))
    store: KeyStore = KeyLayers(tuple(stores)) if len(stores) > 1 else files
    store.prepare()
    return store


def _token_store(directory: Path, token: TokenUri) -> KeyStore:
    try:
        from hauberk.citadel.key_token import TokenKeyStore  # noqa: PLC0415 - needs an optional package
    except ImportError:
        remedy = "run `pip install 'hauberk[pkcs11]'`"
        raise KeyUnreadable(str(token), "the package python-pkcs11 is not installed", remedy) from None
    return TokenKeyStore(directory, token)


def _read_place(environment: Mapping[str, str], prefix: str) -> KeyPlace:
    passphrase, key, token = (
        each.replace("HAUBERK_CA_", prefix) if prefix == _FORMER else each for each in (PASSPHRASE_VARIABLE, KEY_VARIABLE, TOKEN_VARIABLE)
    )
    if environment.get(passphrase) and environment.get(key):
        raise InvalidKeySetting(f"{passphrase} and {key}", "they are both set, and a key is encrypted in one way", "unset one of them")
    try:
        uri = parse_token_uri(environment[token], token) if environment.get(token) else None
    except InvalidTokenUri as error:
        raise InvalidKeySetting(token, error.reason, error.remedy) from None
    return KeyPlace(passphrase_file=_path(environment, passphrase), key_file=_path(environment, key), token=uri)


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    text = environment.get(name)
    if not text:
        return None
    if not Path(text).is_absolute():
        # Not quoted: somebody may have put the passphrase where its file's name belongs.
        raise InvalidKeySetting(name, "it is not an absolute path", "name the file that holds the secret, never the secret itself")
    return Path(text)


def _seal_of(place: KeyPlace) -> Seal | None:
    path = place.passphrase_file or place.key_file
    if path is None:
        return None
    secret = read_private(path)
    try:
        # An editor ends a line that openssl or a person has not.
        return Passphrase(secret.rstrip(b"\r\n")) if place.passphrase_file else KeyFile(secret)
    except SealBroken as error:
        raise KeyUnreadable(path, str(error), "make one: `openssl rand -base64 48 > FILE`, mode 0600") from None
