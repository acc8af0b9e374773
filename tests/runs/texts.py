"""What users and models say in the runs: words of many scripts, and whatever a frame, a parser or a terminal could take
for something else."""

from random import Random

from forethought.model.renderer.forethought import Markers

_PLAIN = "the answer is a sum of two even numbers so let us look at each of them in turn before anything else"
_MANY = (
    "naïve Straße ответ καλημέρα 日本語 テキスト 数 مرحبا שלום हिन्दी ไทย 한국어 😀 👩‍👧 🏳️‍🌈 e\u0301 𝔘𝔫𝔦 ﬁ ½ 3.14 x=1;"
)
PLAIN_WORDS = _PLAIN.split()
WORDS = PLAIN_WORDS + _MANY.split()
TRICKS = (
    '"',
    "\\",
    "\\u0041\\",
    '{"a": [1, null]}',
    "</think>",
    "<|im_end|>",
    "<tool_call>",
    *Markers().model_dump().values(),
    "\n",
    "\r\n",
    "\t",
    "\u2028",
    "\x00",
    "\x1b[31m",
    "\ufeff",
    "\ufffd",
    "data: [DONE]",
    "\n\nevent: response.completed\ndata: {}\n\n",
    ": ping\n\n",
    "%s {0} ${x}",
)


def sentence(dice: Random, most: int = 12) -> str:
    """A few words, and perhaps a trick between them. It neither begins nor ends with white space."""
    words = dice.choices(WORDS, k=dice.randint(1, most))
    if dice.random() < 0.4:
        words[dice.randrange(len(words))] += dice.choice(TRICKS) + dice.choice(WORDS)
    return dice.choice((" ", " ", "  ", ", ")).join(words)


def essay(dice: Random, length: int) -> str:
    """At least so many characters of plain words, in paragraphs."""
    text = ""
    while len(text) < length:
        text += " ".join(dice.choices(PLAIN_WORDS, k=dice.randint(8, 20))) + dice.choice((". ", ".\n\n"))
    return text.strip()


def shortened(told: str, most: int = 120) -> str:
    """A text as a failure tells it."""
    return told if len(told) <= most else f"{told[: most // 2]} … {len(told)} characters … {told[-most // 2 :]}"
