"""LangChain's `ChatOpenAI`, over Chat Completions and over Responses; run by tests/test_clients.py."""

import sys

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"21 °C in {city}"


def main(base_url: str, model: str) -> None:
    """A tool loop, a stream and a structured answer through either API."""
    for responses in (False, True):
        llm = ChatOpenAI(base_url=base_url, api_key="none", model=model, use_responses_api=responses, max_retries=0)
        history: list[BaseMessage] = [HumanMessage("What is the weather in Rome?")]
        called = llm.bind_tools([weather]).invoke(history)
        assert isinstance(called, AIMessage)
        assert called.tool_calls, called
        history.append(called)
        history += [ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"]) for call in called.tool_calls]
        answered = llm.bind_tools([weather]).invoke(history)
        assert answered.text, answered
        chunks = list(llm.stream("Say hello."))
        assert "".join(chunk.text for chunk in chunks) == llm.invoke("Say hello.").text


if __name__ == "__main__":
    main(*sys.argv[1:])
