"""The tape: MarketState rows on disk, packed without loss, append-only, checked block by block.

``format`` is the file, ``rows`` the packing, ``writer`` and ``reader`` its two ends, ``export``
the way out. ``docs/tape.md`` describes the bytes.
"""
