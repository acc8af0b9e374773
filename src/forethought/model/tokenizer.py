"""The tokenizer: text to ids and back, on top of the `tokenizers` library.

What is ours is the border that the rest of the product leans on. Text never becomes a marker: every added token
(`<|im_end|>`, `<think>`, whether the file calls it "special" or not) is *reserved*, unless it is a single character or
white space that the file does not call special. `encode` cannot produce a reserved id, whatever the text spells. A
renderer places markers by id. The way back goes through bytes, so that a stream of tokens never shows half a character.
"""

import json
from codecs import utf_8_decode
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from tokenizers import Tokenizer as Backend

from forethought.errors import CheckpointError

LONG_TEXT = 4096
"""Characters up to which a text is encoded at once, within some milliseconds."""
_BYTE_TOKEN_LENGTH = len("<0x00>")
_METASPACE = "▁"


class Tokenizer:
    """Text to token ids and back. Build it with `load` or from the text of a `tokenizer.json`.

    Supported are the byte-level BPE of GPT-2's kind (Llama 3, SmolLM2, Qwen) and BPE with byte fallback (Llama 2,
    Mistral).

    Raises:
        CheckpointError: the file is no tokenizer, of another kind, or cannot keep text apart from markers.
    """

    def __init__(self, source: str, *, origin: str = "tokenizer.json") -> None:
        try:
            content = cast(dict[str, Any], json.loads(source))
            reserved = _reserve_added_tokens(content)
            # Not the library's own text, which changes with its version, and the digest with it.
            self.json = source if reserved is None else json.dumps(reserved, ensure_ascii=False)
            """The tokenizer.json text that this tokenizer really is, with every reserved token marked special."""
            self._backend = Backend.from_str(self.json)
        except Exception as error:  # noqa: BLE001 - `tokenizers` raises bare Exceptions for whatever is wrong in a file
            raise CheckpointError(f"{origin} cannot be read: {error}.", "Fetch the checkpoint again.") from None
        _encode_text_only(self._backend)
        self._byte_level = _is_byte_level(content.get("decoder"), origin)
        added = self._backend.get_added_tokens_decoder()
        self._added = {id_: token.content for id_, token in added.items()}
        self._id_of = {token.content: id_ for id_, token in added.items() if token.special}
        self._bytes_of: dict[int, bytes] = {}
        self.special_ids = frozenset(self._id_of.values())
        """Every reserved id: what `encode` never yields."""
        self._check_markers_unreachable(origin)

    @cached_property
    def _continuing(self) -> Backend:
        """What encodes text in the middle of a prompt."""
        content = cast(dict[str, Any], json.loads(self.json))
        before = cast(dict[str, Any], content.get("pre_tokenizer") or {})
        if before.get("prepend_scheme") != "first":
            return self._backend
        content["pre_tokenizer"] = before | {"prepend_scheme": "never"}
        backend = Backend.from_str(json.dumps(content, ensure_ascii=False))
        _encode_text_only(backend)
        return backend

    @classmethod
    def load(cls, directory: Path) -> "Tokenizer":
        """Reads `tokenizer.json` in a checkpoint's directory."""
        path = directory / "tokenizer.json"
        try:
            source = path.read_text(encoding="utf-8")
        except OSError as error:
            raise CheckpointError(
                f"{path} cannot be read: {error.strerror}.",
                "A checkpoint needs its tokenizer as tokenizer.json (transformers' `save_pretrained` writes one).",
            ) from None
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{path} is no text: {error}.", "Fetch the checkpoint again.") from None
        return cls(source, origin=str(path))

    @cached_property
    def vocab_size(self) -> int:
        """One more than the largest id (a model's embedding may have more rows)."""
        return 1 + max(self._backend.get_vocab(with_added_tokens=True).values())

    @property
    def special_tokens(self) -> dict[str, int]:
        """Reserved tokens by their spelling."""
        return dict(self._id_of)

    def special_id(self, spelling: str) -> int:
        """The id of a reserved token. Raises `CheckpointError` when the tokenizer has none so spelled."""
        try:
            return self._id_of[spelling]
        except KeyError:
            raise CheckpointError(
                f"The tokenizer has no special token {spelling!r}.", "Choose a renderer that fits this checkpoint."
            ) from None

    def encode(self, text: str, *, continued: bool = False) -> list[int]:
        """The ids of a text; never a reserved id, whatever the text spells. Nothing is added in front or behind.

        `continued` says that the text follows a reserved token, in the middle of a prompt: there, some SentencePiece
        tokenizers do not put a space in front.
        """
        backend = self._continuing if continued else self._backend
        if len(text) > LONG_TEXT:
            # As a batch of one, which lets other threads run; alone, it would keep the whole process waiting.
            return backend.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, reserved tokens spelled out. Bytes that are no UTF-8 become U+FFFD."""
        stream = self.stream()
        return "".join([*map(stream.feed, ids), stream.finish()])

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for; empty for an id that the tokenizer does not know."""
        known = self._bytes_of.get(token_id)
        if known is None:
            known = self._bytes_of[token_id] = self._spelled(token_id)
        return known

    def stream(self) -> "TokenStream":
        """A fresh incremental decoder."""
        return TokenStream(self, drop_first_space=not self._byte_level)

    def _spelled(self, token_id: int) -> bytes:
        added = self._added.get(token_id)
        if added is not None:
            return added.encode()
        token = self._backend.id_to_token(token_id)
        if token is None:
            return b""
        if self._byte_level:
            return bytes(map(_BYTE_OF_CHARACTER.__getitem__, token))
        if len(token) == _BYTE_TOKEN_LENGTH and token.startswith("<0x") and token.endswith(">"):
            return bytes([int(token[3:5], 16)])
        return token.replace(_METASPACE, " ").encode()

    def _check_markers_unreachable(self, origin: str) -> None:
        for spelling in self._id_of:
            if not self.special_ids.isdisjoint(self.encode(spelling)):
                raise CheckpointError(
                    f"{origin} turns the plain text {spelling!r} into a special token.",
                    "Such a checkpoint cannot keep what a user types apart from its markers; use another one.",
                )


class TokenStream:
    """Turns token ids into text as they come, and holds back the bytes of an unfinished character.

    What the calls return, joined, equals `Tokenizer.decode` of all ids.
    """

    def __init__(self, tokenizer: Tokenizer, *, drop_first_space: bool) -> None:
        self._tokenizer = tokenizer
        self._unfinished = b""
        self._drop_space = drop_first_space

    def feed(self, token_id: int) -> str:
        """The text that this token completes; may be empty."""
        piece = self._tokenizer.token_bytes(token_id)
        # SentencePiece puts a space before every text; it is part of the encoding, not of the text.
        if self._drop_space and piece:
            self._drop_space = False
            piece = piece.removeprefix(b" ")
        piece = self._unfinished + piece
        text, length = utf_8_decode(piece, "replace")
        self._unfinished = piece[length:]
        return text

    def finish(self) -> str:
        """The ids are over: an unfinished character comes out as U+FFFD."""
        text, _ = utf_8_decode(self._unfinished, "replace", True)
        self._unfinished = b""
        return text


def _encode_text_only(backend: Backend) -> None:
    """Whole texts, as they are, and reserved tokens never."""
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True


def _reserve_added_tokens(content: dict[str, Any]) -> dict[str, Any] | None:
    """Marks added tokens that are not "special" (Qwen's `<tool_call>`) as such; None when there are none.

    Runs of white space and single characters are vocabulary, not markers, and stay reachable.
    """
    added = cast(list[dict[str, Any]], content.get("added_tokens") or [])
    if not any(_is_unreserved_marker(token) for token in added):
        return None
    marked = [{**token, "special": True} if _is_unreserved_marker(token) else token for token in added]
    return {**content, "added_tokens": marked}


def _is_unreserved_marker(token: dict[str, Any]) -> bool:
    return not token["special"] and len(str(token["content"]).strip()) > 1


def _is_byte_level(decoder: dict[str, Any] | None, origin: str) -> bool:
    """Whether tokens spell bytes in GPT-2's alphabet (else: text with "▁" for a space, and byte tokens)."""
    steps = (decoder or {}).get("decoders") or [decoder or {}]
    kinds = {cast(str, step.get("type")) for step in steps}
    if "ByteLevel" in kinds:
        return True
    if kinds & {"ByteFallback", "Metaspace"}:
        return False
    raise CheckpointError(
        f"{origin} decodes with {', '.join(map(str, kinds))}, which is not supported.",
        "Supported are byte-level BPE (Llama 3, SmolLM2, Qwen) and BPE with byte fallback (Llama 2, Mistral).",
    )


def _byte_of_character() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 bytes stand for themselves, the other 68 are shifted past U+0100."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table = {chr(byte): byte for byte in printable}
    shifted = (byte for byte in range(256) if byte not in set(printable))
    return table | {chr(256 + index): byte for index, byte in enumerate(shifted)}


_BYTE_OF_CHARACTER = _byte_of_character()
