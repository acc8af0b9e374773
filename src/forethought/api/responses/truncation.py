"""`truncation: "auto"`: the oldest exchanges of a conversation give way, so that the latest fits the context.

An exchange is a message of the user and all that follows until the next. What developers say is kept, wherever it
stands; it outranks what users say.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace

from forethought.model.conversation import Conversation, Item, Message, ToolCall, ToolResult


def shortened(conversation: Conversation, fits: Callable[[Conversation], bool]) -> Conversation:
    """The conversation without as many of its oldest exchanges as must go. The last one is kept, if it fits or not."""
    items = conversation.items
    begins = [place for place, item in enumerate(items) if isinstance(item, Message) and item.role == "user"]
    if len(begins) < 2 or fits(conversation):
        return conversation

    def without(exchanges: int) -> Conversation:
        return replace(conversation, items=_after(items, begins[exchanges]))

    # A shorter conversation fits where a longer one does, so there is no need to try them all.
    fewest = bisect_left(range(1, len(begins) - 1), True, key=lambda exchanges: fits(without(exchanges)))
    return without(1 + fewest)


def _after(items: tuple[Item, ...], place: int) -> tuple[Item, ...]:
    """The items from `place` on, with the developers' messages before it, without outputs whose call is gone."""
    developers = (item for item in items[:place] if isinstance(item, Message) and item.role == "developer")
    calls = {item.call_id for item in items[place:] if isinstance(item, ToolCall)}
    kept = (item for item in items[place:] if not isinstance(item, ToolResult) or item.call_id in calls)
    return (*developers, *kept)
