"""What things cost."""

from web import serve

PRICES = {"helmet": 120, "hauberk": 900, "gauntlet": 75}

serve({"prices": lambda _: (200, PRICES)})
