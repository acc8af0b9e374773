"""What a stage can be told about the base's own answers, which it shows again."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ReplaySettings(BaseModel):
    """The base's own answers to ordinary prompts, and to about `made_up` prompts that it makes up, mixed in so that it
    stays able to chat: `share` of all rows. A part of them (`thinking`) is shown behind a short thinking, with an
    effort; the others as the base gave them. `tokens` are the most of one answer. What is learned of an answer is all
    that the base might have said at each of its tokens; that, and the thinking before it, counts `weight` times as much
    as any other token."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = Field(default=0.1, ge=0, lt=1)
    thinking: float = Field(default=0.5, ge=0, le=1)
    made_up: int = Field(default=0, ge=0)
    weight: float = Field(default=1.0, gt=0)
    tokens: int = Field(default=160, ge=1)

    @model_validator(mode="after")
    def _acts(self) -> Self:
        if not self.share and self != ReplaySettings.model_construct(share=self.share):
            raise ValueError("with a share of 0 the other keys do nothing")
        return self
