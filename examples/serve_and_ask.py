"""Serve a model from a program of your own, and ask it with OpenAI's client.

`forethought serve` does the first half on the command line.
"""

import asyncio

from openai import AsyncOpenAI

from forethought.api.app import create_app
from forethought.api.hosting import open_model, server_options
from forethought.api.server import Listening, Server
from forethought.settings import load_settings


async def main() -> None:
    settings = load_settings()
    app = create_app([open_model(settings)], server_options(settings, key=None))
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = Server(app, Listening(port=0), on_listening=url.set_result)
    serving = asyncio.create_task(server.run_until_ended())
    await asyncio.wait({url, serving}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        async with AsyncOpenAI(base_url=f"{url.result()}/v1", api_key="none") as client:
            stream = await client.responses.create(
                model="forethought-mini", input="Why is the sky blue?", max_output_tokens=60, stream=True
            )
            async for event in stream:
                if event.type == "response.output_text.delta":
                    print(event.delta, end="", flush=True)
                elif event.type in ("response.completed", "response.incomplete", "response.failed"):
                    print(f"\nended as {event.response.status}: {event.response.usage or event.response.error}")
        server.should_exit = True
    await serving


if __name__ == "__main__":
    asyncio.run(main())
