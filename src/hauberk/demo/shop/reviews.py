"""What people say; version 2 counts stars too."""

import os

from web import Answer, Request, serve

VERSION = os.environ.get("VERSION", "v1")
TEXTS = {"helmet": "fits", "hauberk": "heavy, worth it"}


def reviews(_: Request) -> Answer:
    """The reviews as this version gives them."""
    stars = {"stars": {"helmet": 4, "hauberk": 5}} if VERSION == "v2" else {}
    return 200, {"version": VERSION, "texts": TEXTS, **stars}


serve({"reviews": reviews})
