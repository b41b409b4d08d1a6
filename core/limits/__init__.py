"""The controls of the gate, by what they look at; ``core.risk`` has the one table of them."""
