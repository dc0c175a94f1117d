"""Takes an order: looks up the price, has it paid."""

import json

from web import Answer, Request, serve


def orders(request: Request) -> Answer:
    """One order, paid or refused."""
    wanted = json.loads(request.body or b"{}")
    _, prices = request.call("http://prices/prices")
    amount = prices.get(wanted.get("item"), 0) * wanted.get("count", 1) if isinstance(prices, dict) else 0
    status, receipt = request.call("http://payments/charge", "POST", {"amount": amount})
    return (201 if status == 200 else status), {"order": wanted, "receipt": receipt}


serve({"orders": orders})
