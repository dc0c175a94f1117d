"""A login to a PKCS#11 token, made when it is first needed and made again when the token was away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pkcs11
from pkcs11 import Session, Token

from hauberk.citadel.key_store import KeyUnreadable
from hauberk.citadel.private_file import read_private, write_private
from hauberk.citadel.token_uri import TokenUri
from hauberk.kit.log import logger

Answer = TypeVar("Answer")

_log = logger("citadel")
# PKCS#11 allows no two operations at once in one session, and starting a module anew ends all sessions that this process has with it.
_ONE_AT_A_TIME = threading.RLock()


class TokenSession:
    """One session with `token`; may be shared by threads.

    `remembered` is a file beside the keys that says which PIN was refused. A process that is restarted whenever it ends must not use up
    the few tries after which a token locks itself.
    """

    def __init__(self, token: TokenUri, remembered: Path) -> None:
        self._uri = token
        self._remembered = remembered
        self._session: Session | None = None

    def do(self, act: Callable[[Session], Answer]) -> Answer:
        """What `act` returns, with a session that is logged in; raises KeyUnreadable if the token cannot be used."""
        with _ONE_AT_A_TIME:
            fresh = self._session is None
            try:
                return act(self._current())
            except pkcs11.PKCS11Error as error:
                self._forget()
                if fresh:
                    raise self._unusable(error) from None
            # The token was taken out, or its server restarted: whatever handle the session had is worth nothing now.
            _log.warning("logging in to the token again", token=str(self._uri))
            try:
                # A module may not see a token that came back before it is started anew.
                pkcs11.lib(str(self._uri.module)).reinitialize()
                return act(self._current())
            except pkcs11.PKCS11Error as error:
                self._forget()
                raise self._unusable(error) from None

    def _current(self) -> Session:
        if self._session is None:
            self._session = self._open()
        return self._session

    def _forget(self) -> None:
        self._session = None

    def _open(self) -> Session:
        pin = self._pin()
        token = self._find()
        if token.flags & (pkcs11.TokenFlag.USER_PIN_FINAL_TRY | pkcs11.TokenFlag.USER_PIN_LOCKED):
            remedy = "log in once by hand with the right PIN (`pkcs11-tool --login --list-objects`), or have the token's officer unlock it"
            raise KeyUnreadable(str(self._uri), "one more wrong PIN would lock it, or it is locked already", remedy)
        try:
            session = token.open(rw=True, user_pin=pin)
        except pkcs11.UserAlreadyLoggedIn:
            return token.open(rw=True)
        except (pkcs11.PinIncorrect, pkcs11.PinLenRange, pkcs11.PinInvalid):
            write_private(self._remembered, self._pin_mark())
            raise KeyUnreadable(self._uri.pin_file, "the token refuses this PIN", self._remedy) from None
        self._remembered.unlink(missing_ok=True)
        return session

    def _pin(self) -> str:
        pin = read_private(self._uri.pin_file).decode(errors="replace").rstrip("\r\n")
        if self._remembered.exists() and self._remembered.read_bytes() == self._pin_mark():
            raise KeyUnreadable(
                self._uri.pin_file, "the token has refused this PIN; it is not tried again, lest the token lock itself", self._remedy
            )
        return pin

    @property
    def _remedy(self) -> str:
        return f"write the right PIN into the file, or remove {self._remembered} if it was right"

    def _pin_mark(self) -> bytes:
        """Which state of the PIN file this is; nothing of the PIN."""
        status = self._uri.pin_file.stat()
        return f"{status.st_ino} {status.st_mtime_ns}\n".encode()

    def _find(self) -> Token:
        try:
            library = pkcs11.lib(str(self._uri.module))
        except (RuntimeError, OSError) as error:
            raise KeyUnreadable(self._uri.module, f"it is no PKCS#11 module ({error})", "correct module-path") from None
        found = [token for slot in library.get_slots(token_present=True) if self._is_meant(token := slot.get_token())]
        if len(found) != 1:
            reason = "it is not there" if not found else f"{len(found)} tokens answer to this"
            raise KeyUnreadable(str(self._uri), reason, "`pkcs11-tool --list-slots` shows what the module sees; add serial= to be precise")
        return found[0]

    def _is_meant(self, token: Token) -> bool:
        says = {
            "token": token.label,
            "serial": token.serial.decode(errors="replace").strip(),
            "manufacturer": token.manufacturer_id,
            "model": token.model,
        }
        wanted = {name: getattr(self._uri, name) for name in says}
        return all(value is None or value == says[name] for name, value in wanted.items())

    def _unusable(self, error: Exception) -> KeyUnreadable:
        reason = f"it answers {type(error).__name__}{f' ({error})' if str(error) else ''}"
        return KeyUnreadable(str(self._uri), reason, "see whether it is plugged in, and its own log")
