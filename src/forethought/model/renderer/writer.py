"""Text and markers on their way to token ids.

The border between content and format lives here: text goes through `Tokenizer.encode`, which never yields a reserved
id, and markers are placed by id. Neighbouring texts are encoded as one stretch, as a tokenizer that reads the whole
prompt at once would do.
"""

from forethought.errors import RenderError
from forethought.model.conversation import Image, Part
from forethought.model.renderer.protocol import ImagePlace
from forethought.model.tokenizer import Tokenizer


class TokenWriter:
    """Collects a prompt or an output, piece by piece."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._images: list[ImagePlace] = []
        self._text: list[str] = []

    def text(self, text: str) -> None:
        """More text, whatever it spells."""
        self._text.append(text)

    def marker(self, token_id: int) -> None:
        """One reserved token."""
        self._flush()
        self._ids.append(token_id)

    def image(self, image: Image, placeholder: int) -> None:
        """A place for an image: `image.tokens` placeholders. Raises `RenderError` when that is less than one."""
        if image.tokens < 1:
            raise RenderError(f"An image of {image.tokens} tokens has no place.", "Encode the image first.")
        self._flush()
        self._images.append(ImagePlace(len(self._ids), image.tokens, image.content_hash))
        self._ids += [placeholder] * image.tokens

    def parts(self, parts: tuple[Part, ...], placeholder: int) -> None:
        """The texts and images of a message, in order."""
        for part in parts:
            if isinstance(part, Image):
                self.image(part, placeholder)
            else:
                self.text(part.text)

    def ids(self) -> tuple[int, ...]:
        """Everything written so far. Raises `RenderError` for text that is no valid Unicode."""
        self._flush()
        return tuple(self._ids)

    def images(self) -> tuple[ImagePlace, ...]:
        """Where the images are."""
        return tuple(self._images)

    def _flush(self) -> None:
        text = "".join(self._text)
        self._text.clear()
        if not text:
            return
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise RenderError(
                f"A text holds {text[error.start]!a}, half of a surrogate pair, which is no character.",
                "Send valid Unicode.",
            ) from None
        self._ids += self._tokenizer.encode(text, continued=bool(self._ids))
