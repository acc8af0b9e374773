"""Everything that comes back in a run: both answers, what is asked of the server afterwards, and where summaries stand
in it."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from runs.house import PLAIN, UNSEALED, RunHouse
from runs.run import Run
from runs.sse import read_events
from server_house import RawAnswer

Document = dict[str, Any]
COUNTED = ("model", "instructions", "reasoning", "text", "tools", "tool_choice", "parallel_tool_calls", "truncation")


@dataclass
class Exposed:
    """What came back: headers and bodies as they came over the wire, and the objects in the bodies."""

    end: str = ""
    heads: list[str] = field(default_factory=list[str])
    bodies: list[str] = field(default_factory=list[str])
    documents: list[Document] = field(default_factory=list[Document])
    prompt: tuple[int, ...] | None = None
    """What the model was shown when its thinking was handed back."""

    def add(self, answer: RawAnswer) -> list[Document]:
        """One more answer; the objects in it."""
        self.heads.append(str(answer.headers))
        self.bodies.append(answer.body.decode())
        streamed = answer.headers.get("content-type", "").startswith("text/event-stream")
        objects = read_events(answer.body, named=b"event: " in answer.body) if streamed else [json.loads(answer.body)]
        self.documents += objects
        return objects

    @property
    def blobs(self) -> set[tuple[str, str]]:
        """Every encrypted content, with the id of its item."""
        return {
            (item["id"], item["encrypted_content"])
            for document in self.documents
            for item in _objects(document)
            if item.get("encrypted_content")
        }

    @property
    def summaries(self) -> set[str]:
        """The parts of summaries, as far as they came."""
        parts: defaultdict[tuple[str, int], str] = defaultdict(str)
        for event in self.documents:
            if event.get("type") == "response.reasoning_summary_text.delta":
                parts[event["item_id"], event["summary_index"]] += event["delta"]
        whole = (item["text"] for one in self.documents for item in _objects(one) if item.get("type") == "summary_text")
        return {text for text in (*parts.values(), *whole) if text}

    @property
    def without_summaries(self) -> list[Document]:
        """The objects, with nothing in the places of a summary."""
        return [_blank(document) for document in self.documents]


def expose(house: RunHouse, twins: RunHouse, run: Run) -> Exposed:
    """Takes a run, streamed and not, and hands back to the server what it thought."""
    exposed = Exposed()
    if run.leave is not None:
        raw = house.abandon(run, run.leave)
        exposed.end = "client left"
        head, _, body = raw.decode("utf-8", "replace").partition("\r\n\r\n")
        exposed.heads.append(head)
        exposed.bodies.append(body)
        exposed.documents += _whole_objects(raw)
        return exposed
    *_, last = exposed.add(house.ask(run, streamed=True))
    waited = twins.ask(run, streamed=False)
    [document] = exposed.add(waited)
    exposed.end = f"{waited.status} {last.get('type', last.get('object', 'error'))}"
    if document.get("status") == "completed" and run.api == "responses" and not run.closes:
        _hand_back(exposed, house, run, document)
    return exposed


def _hand_back(exposed: Exposed, house: RunHouse, run: Run, document: Document) -> None:
    """The next request of the same turn: answered, counted, and refused when an item is not itself."""
    sealed = [item for item in document["output"] if "encrypted_content" in item]
    if not sealed or run.body["model"] in (PLAIN, UNSEALED):
        return
    items = [{"role": "user", "content": "Hello"}, *document["output"], *_outputs(document["output"])]
    again = replace(run, body={**run.body, "input": items})
    exposed.add(house.ask(again, streamed=False))
    exposed.prompt = house.stage.prompt
    counted = {name: value for name, value in again.body.items() if name in (*COUNTED, "input")}
    exposed.add(house.send(run.path.replace("/responses", "/responses/input_tokens"), counted))
    renamed = [item | {"id": "rs_another"} if item in sealed else item for item in items]
    refused = house.ask(replace(run, body={**run.body, "input": renamed}), streamed=True)
    assert refused.status == 400
    assert refused.error["code"] == "invalid_encrypted_content"
    exposed.add(refused)


def _outputs(items: Iterable[Document]) -> Iterator[Document]:
    """Something for every call."""
    for item in items:
        if "call_id" in item:
            yield {"type": f"{item['type']}_output", "call_id": item["call_id"], "output": "21 °C"}


def _whole_objects(raw: bytes) -> Iterator[Document]:
    """The objects of a stream that was left, as far as they came."""
    for line in raw.split(b"\n\n")[:-1]:
        if b"data: {" in line:
            yield json.loads(line[line.index(b"data: {") + len(b"data: ") :])


def _objects(value: Any) -> Iterator[Document]:
    """Every object in a document."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(part)


def _blank(value: Any) -> Any:
    match value:
        case {"type": "summary_text"}:
            return {}
        case {"type": str(kind)} if kind.startswith("response.reasoning_summary"):
            return {"type": kind}
        case dict():
            return {key: _blank(part) for key, part in value.items()}
        case list():
            return [_blank(part) for part in value]
        case _:
            return value
