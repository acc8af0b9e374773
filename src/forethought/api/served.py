"""The models that a server offers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from forethought.reasoning.summary import DEFAULTS, Summarizer, SummarySettings

if TYPE_CHECKING:
    from forethought.api.content_keys import ContentKeys
    from forethought.engine.protocol import Engine
    from forethought.reasoning.reasoner import Reasoner

LOCAL_TENANT = "local"
"""Whose requests they are, until there are tenants."""


@dataclass(frozen=True)
class ServedModel:
    """One model under its two names.

    Args:
        alias: the name that moves on with new snapshots (`forethought-mini`).
        snapshot: the dated name of this one (`forethought-mini-2026-11-23`); responses carry it.
        created: Unix seconds.
        reasoner: takes its turns.
        keys: encrypt its thinking.
        thinks: whether turns think; a model that does not takes no `reasoning` parameters.
        lenient: sampling parameters act, instead of being refused as the o-series does.
        summary_writer: takes the turns that write summaries; None has `reasoner` take them.
        summary_settings: what summaries may take.
    """

    alias: str
    snapshot: str
    created: int
    reasoner: Reasoner
    keys: ContentKeys
    thinks: bool
    lenient: bool = False
    summary_writer: Reasoner | None = None
    summary_settings: SummarySettings = DEFAULTS

    @cached_property
    def summarizer(self) -> Summarizer:
        """Summarises what its turns think."""
        return Summarizer(self.summary_writer or self.reasoner, self.summary_settings)

    @property
    def engines(self) -> tuple[Engine, ...]:
        """What it needs: the engine of its turns, and that of its summaries if it is another one."""
        reasoners = (self.reasoner,) if self.summary_writer is None else (self.reasoner, self.summary_writer)
        return tuple(reasoner.engine for reasoner in reasoners)

    @property
    def digest(self) -> str:
        """Of the checkpoint as its engine has loaded it. Encrypted reasoning is bound to it. Raises `EngineDown` before
        the engine's start."""
        return self.reasoner.digest
