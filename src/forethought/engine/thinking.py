"""The thinking of one request: counts its tokens and says when, and with which tokens, it is ended by force."""

from forethought.engine.protocol import ThinkingBudget, ThinkingClosed


class ThinkingTracker:
    """Follows the output token by token. `tokens` counts what was thought, markers not included."""

    __slots__ = ("_budget", "_forced", "closed", "open", "tokens")

    def __init__(self, budget: ThinkingBudget) -> None:
        self._budget = budget
        self._forced = 0
        self.open = budget.open_at_start
        self.tokens = 0
        self.closed: ThinkingClosed | None = None

    def forced_token(self, left: int) -> int | None:
        """The token that must come next, if any; `left` is how many the request may still emit, this one included.

        Thinking ends by force when its budget is used up, or when one more thinking token would leave less than
        the end marker and the reserve.
        """
        if not self.open:
            return None
        budget = self._budget
        if not self._forced:
            if self.tokens >= budget.max_tokens:
                self.closed = "budget"
            elif left <= len(budget.end_ids) + budget.reserve:
                self.closed = "limit"
            else:
                return None
        return budget.end_ids[self._forced]

    def stop(self) -> int:
        """The model would stop inside the thinking: the token that comes instead, and begins its end."""
        self.closed = "stop"
        return self._budget.end_ids[0]

    def observe(self, token: int, *, forced: bool) -> None:
        """Takes note of the next token of the output."""
        if forced:
            self._forced += 1
            if self._forced == len(self._budget.end_ids):
                self.open, self._forced = False, 0
        elif self.open:
            if token == self._budget.end_id:
                self.open = False
            else:
                self.tokens += 1
        elif token == self._budget.start_id:
            self.open = True
