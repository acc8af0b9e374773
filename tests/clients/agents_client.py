"""An agent of `openai-agents` that calls a tool and answers, through Responses; run by tests/test_clients.py."""

import asyncio
import sys

from agents import Agent, ModelSettings, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

asked: list[str] = []


@function_tool
def weather(city: str) -> str:
    """The weather in a city."""
    asked.append(city)
    return f"21 °C in {city}"


async def main(base_url: str, model: str) -> None:
    """One run without a stream, one with it."""
    set_tracing_disabled(True)
    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        agent = Agent(
            name="Forecaster",
            instructions="Use the tool.",
            tools=[weather],
            model=OpenAIResponsesModel(model=model, openai_client=client),
            model_settings=ModelSettings(tool_choice="auto"),
        )
        result = await Runner.run(agent, "What is the weather in Rome?", max_turns=4)
        assert asked, "the tool was not called"
        assert result.final_output, result
        streamed = Runner.run_streamed(agent, "What is the weather in Rome?", max_turns=4)
        kinds = [event.type async for event in streamed.stream_events()]
        assert "raw_response_event" in kinds, kinds
        assert len(asked) >= 2, asked
        assert streamed.final_output == result.final_output


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
