"""Keys in several places: new ones go into the first, old ones stay where they are until they are rotated out.

A key that has ever lain in a file is not made safe by copying it into a token, so none is moved.
"""

from dataclasses import dataclass

from hauberk.citadel.key_store import KeyAbsent, KeyAlgorithm, KeyStore, PrivateKey, Signer


@dataclass(frozen=True, slots=True)
class KeyLayers:
    """Several stores as one; `layers` is not empty."""

    layers: tuple[KeyStore, ...]

    def prepare(self) -> None:
        """Every place is ready."""
        for layer in self.layers:
            layer.prepare()

    def create(self, name: str, algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256) -> Signer:
        """A new key in the first place."""
        self._refuse_double(name)
        return self.layers[0].create(name, algorithm)

    def adopt(self, name: str, key: PrivateKey) -> Signer:
        """An imported key in the first place."""
        self._refuse_double(name)
        return self.layers[0].adopt(name, key)

    def open(self, name: str) -> Signer:
        """The key, from whichever place has it."""
        absent: KeyAbsent | None = None
        for layer in self.layers:
            try:
                return layer.open(name)
            except KeyAbsent as error:
                absent = absent or error
        assert absent is not None
        raise absent

    def destroy(self, name: str) -> None:
        """No place has the key."""
        for layer in self.layers:
            layer.destroy(name)

    def ids(self) -> frozenset[str]:
        """Of the keys in all places."""
        return frozenset[str]().union(*(layer.ids() for layer in self.layers))

    def _refuse_double(self, name: str) -> None:
        if name in self.ids():
            raise FileExistsError(f"there is a key {name}: a key is never overwritten")
