"""The shop's window: a page made of the catalogue and its reviews, and a counter that takes orders."""

from web import Answer, Request, serve


def home(request: Request) -> Answer:
    """Every item with what people say of it."""
    status, items = request.call("http://catalog/items")
    if status != 200:
        return 502, {"catalog": items}
    _, reviews = request.call("http://reviews/reviews")
    return 200, {"items": items, "reviews": reviews}


def buy(request: Request) -> Answer:
    """Pass an order on."""
    status, order = request.call("http://orders/orders", "POST", {"item": "helmet", "count": 1})
    return status, order


serve({"": home, "buy": buy})
