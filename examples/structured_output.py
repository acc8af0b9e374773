"""Get an answer that is sure to fit a JSON schema, a regular expression or a grammar.

python examples/structured_output.py
"""

import asyncio
import json

from forethought.engine.native import NativeEngine
from forethought.model.conversation import Conversation, Message
from forethought.model.registry import resolve
from forethought.reasoning.format import JsonSchema, Lark, Regex
from forethought.reasoning.reasoner import Reasoner
from forethought.settings import load_settings

CITY = JsonSchema(
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 20},
            "continent": {"enum": ["Africa", "America", "Asia", "Europe", "Oceania"]},
            "capital": {"type": "boolean"},
        },
        "required": ["name", "continent", "capital"],
        "additionalProperties": False,
    }
)


async def main() -> None:
    settings = load_settings()
    checkpoint = resolve(settings.model, settings)
    with NativeEngine(checkpoint, settings) as engine:
        reasoner = Reasoner(checkpoint, engine)

        question = Conversation((Message.of("user", "Tell me about Paris, as JSON."),))
        city = (await reasoner.turn(question, output_format=CITY).answer()).checked()
        print(json.loads(city.text))

        question = Conversation((Message.of("user", "When was the first moon landing?"),))
        date = (await reasoner.turn(question, output_format=Regex(r"\d{4}-\d{2}-\d{2}")).answer()).checked()
        print(date.text)

        question = Conversation((Message.of("user", "Is a whale a fish?"),))
        verdict = (await reasoner.turn(question, output_format=Lark('start: "yes" | "no"')).answer()).checked()
        print(verdict.text)


if __name__ == "__main__":
    asyncio.run(main())
