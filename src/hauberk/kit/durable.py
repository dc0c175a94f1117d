"""What every store of the mesh says when it cannot keep what it is given, whichever part it belongs to."""


class NotKept(Exception):
    """Nothing was changed, because the change could not be made to last; `hint` tells the operator what to do."""

    hint: str
