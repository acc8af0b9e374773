"""Our engine without the API: the same requests as those of the clients, their tokens read by nobody but a counter.

Job:    {"model_dir", "prompts", "tokens": of each at most}
Events: {"event": "load", "seconds": from the first request to the last token, "tokens"}, {"event": "done"}
"""

import asyncio
import time
from dataclasses import replace
from typing import Any

from serving import begin

from forethought.api import hosting
from forethought.engine.protocol import EventStream, Finished
from forethought.model.conversation import Conversation, Message
from forethought.reasoning.reasoner import Reasoner
from forethought.settings import load_settings


async def load(reasoner: Reasoner, prompts: list[str], tokens: int) -> dict[str, Any]:
    """Runs all of them together."""
    conversations = [Conversation((Message.of("user", prompt),)) for prompt in prompts]
    began = time.monotonic()
    turns = [
        reasoner.prepare(one, max_output_tokens=tokens, sampling={"temperature": 0.0}).request for one in conversations
    ]
    streams = [reasoner.engine.submit(replace(turn, id=str(number))) for number, turn in enumerate(turns)]
    counts = await asyncio.gather(*map(count, streams))
    return {"seconds": time.monotonic() - began, "tokens": sum(counts)}


async def count(stream: EventStream) -> int:
    """Reads a stream to its end. How many tokens it had."""
    last = None
    async for event in stream:
        last = (event, *stream.ready())[-1]
    if not isinstance(last, Finished) or last.error is not None:
        raise RuntimeError(f"a stream ended with {last}")
    return last.completion_tokens


async def main() -> None:
    """Starts the engine, warms it, runs the load."""
    job, emit = begin()
    settings = load_settings().model_copy(update={"model": job["model_dir"]})
    reasoner = hosting.open_model(settings).reasoner
    await reasoner.engine.start()
    await load(reasoner, job["prompts"], job["warming"])
    emit("load", **await load(reasoner, job["prompts"], job["tokens"]))
    emit("done")
    await reasoner.engine.close()


if __name__ == "__main__":
    asyncio.run(main())
