"""When each crypto book of Alpaca is asked for again, and since when one is not told at all.

Nothing is numbered and one connection is allowed, so a book that lost a message unseen can only be
renewed where it is: unsubscribe and subscribe of its channel bring all of it with ``r``. It is
believed meanwhile, for that takes one way to the venue and back. No I/O; times are passed in.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.clock import NS_PER_S

ANSWER_NS = 2 * NS_PER_S
"""How long a book that was asked for may take to come, and one may go untold unsuspected."""
_NEVER_NS = 2**63 - 1


class Renewals:
    """The times of the books of one connection.

    Args:
        count: Books.
        after_ns: Age at which a book is asked for again: how long it can be wrong unseen.
    """

    def __init__(self, count: int, after_ns: int) -> None:
        self._count = count
        self._after_ns = after_ns
        self.restart()

    def restart(self) -> None:
        """A fresh connection: no book has come yet."""
        self._due_ns = [_NEVER_NS] * self._count
        self._n_asked = [0] * self._count
        """Times that each was asked for since it came whole."""
        self._asked: int | None = None
        """The book that was asked for last and has not come yet."""
        self._wait_until_ns = 0
        self._untold_ns: dict[int, int] = {}
        """Books that the venue does not list as subscribed, and since when."""

    def came_whole(self, index: int, now_ns: int) -> None:
        """The venue told the whole book."""
        self._due_ns[index], self._n_asked[index] = now_ns + self._after_ns, 0
        self._untold_ns.pop(index, None)
        if self._asked == index:
            self._wait_until_ns = 0

    def due(self, live: Sequence[int], now_ns: int) -> int | None:
        """Return the book to ask for now, as asked for: the one that is due longest.

        One at a time. One that does not come is asked for again, each time later, as if a message
        could be lost: a book whose first half of the question came through is not told any more.
        """
        if now_ns < self._wait_until_ns or not live:
            return None
        index = min(live, key=self._due_ns.__getitem__)
        if now_ns < self._due_ns[index]:
            return None
        wait_ns = min(ANSWER_NS << min(self._n_asked[index], 20), self._after_ns)
        self._due_ns[index] = now_ns + wait_ns
        self._n_asked[index] += 1
        self._asked, self._wait_until_ns = index, now_ns + ANSWER_NS
        return index

    def listed(self, index: int, *, is_told: bool, now_ns: int) -> None:
        """The venue says whether it tells a book. One that it told not stays so until it is whole.

        While a book is asked for anew it says no once, between the two halves of the question.
        """
        if not is_told:
            self._untold_ns.setdefault(index, now_ns)

    def untold(self, now_ns: int) -> list[int]:
        """Return the books that have gone untold for too long, each once."""
        since_ns = self._untold_ns.items()
        late = [index for index, at_ns in since_ns if now_ns - at_ns > ANSWER_NS]
        for index in late:
            del self._untold_ns[index]
        return late
