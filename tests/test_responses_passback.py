"""A client that keeps the conversation itself, and passes items back as they came, gets the prompts that a conversation
held in memory gives."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import (
    Conversation,
    FreeInput,
    Item,
    Message,
    Text,
    Thinking,
    ToolCall,
    ToolDefinition,
    ToolResult,
)
from responses_oracle import check_document
from responses_scene import Scene

TOOLS = (ToolDefinition("look", "Looks.", {"type": "object"}), ToolDefinition("write", custom=FreeInput()))
WIRE_TOOLS = [
    {"type": "function", "name": "look", "description": "Looks.", "parameters": {"type": "object"}},
    {"type": "custom", "name": "write"},
]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
spoken = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=12)


@st.composite
def outputs(draw: st.DrawFn, last: bool) -> list[Item]:
    """What the model writes in one response: the last one of a turn answers, those before it call tools."""
    items: list[Item] = [Thinking(draw(texts))]
    if last or draw(st.booleans()):
        items.append(Message.of("assistant", draw(spoken)))
    if not last:
        for _ in range(draw(st.integers(1, 3))):
            arguments = f'{{"n":{draw(st.integers())}}}'
            custom = draw(st.booleans())
            items.append(
                ToolCall("", "write", draw(spoken), custom=True) if custom else ToolCall("", "look", arguments)
            )
    return items


conversations = st.lists(
    st.integers(0, 2).flatmap(lambda calls: st.tuples(texts, *[outputs(last=n == calls) for n in range(calls + 1)])),
    min_size=1,
    max_size=8,
)
"""For each turn what the user says, and what the model writes, response by response."""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(conversations, st.one_of(st.none(), texts))
def test_passing_items_back_gives_the_prompts_of_a_conversation_in_memory(
    checkpoint: Checkpoint, turns: list[tuple[Any, ...]], instructions: str | None
) -> None:
    scene = Scene(checkpoint, context_length=1 << 16)
    memory: list[Item] = [] if instructions is None else [Message.of("developer", instructions)]
    wire: list[dict[str, Any]] = []
    for said, *responses in turns:
        memory.append(Message.of("user", said))
        wire.append({"role": "user", "content": said})
        for written in responses:
            scene.will_write(*written)
            document = scene.create(
                input=wire, tools=WIRE_TOOLS, instructions=instructions, include=["reasoning.encrypted_content"]
            )
            check_document(document)
            expected = scene.served.reasoner.prompt(Conversation(tuple(memory), TOOLS), effort="medium", think=True)
            assert scene.prompt == expected.token_ids
            ids = (item["call_id"] for item in document["output"] if "call_id" in item)
            memory += (_with_id(item, ids) for item in written)
            wire += document["output"]
            for item in document["output"]:
                if "call_id" in item:
                    memory.append(ToolResult(item["call_id"], (Text("done"),)))
                    wire.append({"type": f"{item['type']}_output", "call_id": item["call_id"], "output": "done"})


def _with_id(item: Item, ids: Any) -> Item:
    if isinstance(item, ToolCall):
        return ToolCall(next(ids), item.name, item.arguments, custom=item.custom)
    return item


def test_thinking_is_shown_again_within_its_turn_and_not_behind_its_border(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint)
    thought = checkpoint.tokenizer.encode("the canary sings")
    wire: list[dict[str, Any]] = [{"role": "user", "content": "Look."}]
    parameters = {"tools": WIRE_TOOLS, "include": ["reasoning.encrypted_content"]}
    scene.will_write(Thinking("the canary sings"), ToolCall("", "look", "{}"))
    wire += scene.create(input=wire, **parameters)["output"]
    wire.append({"type": "function_call_output", "call_id": wire[-1]["call_id"], "output": "nothing"})
    scene.will_write(Thinking("hmm"), Message.of("assistant", "Nothing."))
    wire += scene.create(input=wire, **parameters)["output"]
    assert _holds(scene.prompt, thought)
    scene.will_write(Thinking("hmm"), Message.of("assistant", "No."))
    scene.create(input=[*wire, {"role": "user", "content": "Sure?"}], **parameters)
    assert not _holds(scene.prompt, thought)


def _holds(prompt: tuple[int, ...], tokens: list[int]) -> bool:
    return any(prompt[start : start + len(tokens)] == tuple(tokens) for start in range(len(prompt)))
