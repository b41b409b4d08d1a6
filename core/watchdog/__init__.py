"""The watchdog: a small process of its own that stops an engine which cannot stop itself.

It imports the standard library, msgspec, ``core.clock`` and itself, nothing that trades, draws or
remembers: whatever breaks there leaves it standing. ``docs/kill.md`` says what it does when.
"""
