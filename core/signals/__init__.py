"""Signals: what the book, the trades and the agent say about the next seconds. Pure."""
