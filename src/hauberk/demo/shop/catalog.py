"""What the shop sells."""

from web import Answer, Request, serve

ITEMS = {"helmet": "keeps the head on", "hauberk": "rings, riveted", "gauntlet": "sold in pairs"}


def items(request: Request) -> Answer:
    """The items with their prices of this moment."""
    status, prices = request.call("http://prices/prices")
    found = prices if status == 200 else {}
    return 200, [{"name": name, "text": text, "price": found.get(name)} for name, text in ITEMS.items()]


serve({"items": items})
