"""Renderers: a conversation into tokens, a token stream back into typed pieces."""

from pathlib import Path

from forethought.errors import CheckpointError
from forethought.model.manifest import read_manifest
from forethought.model.renderer.forethought import ForethoughtRenderer
from forethought.model.renderer.protocol import Renderer
from forethought.model.renderer.template import TemplateRenderer
from forethought.model.tokenizer import Tokenizer

__all__ = ["ForethoughtRenderer", "Renderer", "TemplateRenderer", "load_renderer"]

_RENDERERS = {(kind.name, kind.version): kind for kind in (ForethoughtRenderer, TemplateRenderer)}


def load_renderer(directory: Path, tokenizer: Tokenizer, template_directory: Path | None = None) -> Renderer:
    """The renderer that a checkpoint's `forethought.json` names, or else its own chat template.

    `template_directory` is where the chat template lies, when that is another directory (an adapter's base).

    Raises:
        CheckpointError: the named renderer does not exist in this version, its options do not fit, the tokenizer
            lacks its markers, or there is neither a named renderer nor a template.
    """
    spec = read_manifest(directory).renderer
    template_directory = template_directory or directory
    if spec is None:
        return TemplateRenderer.load(template_directory, tokenizer)
    kind = _RENDERERS.get((spec.name, spec.version))
    if kind is None:
        known = ", ".join(f"{name} {version}" for name, version in _RENDERERS)
        raise CheckpointError(
            f"{directory} names the renderer {spec.name} {spec.version}, and there are {known}.",
            "Install the version of Forethought that wrote the checkpoint.",
        )
    if kind is ForethoughtRenderer:
        return ForethoughtRenderer.load(directory, tokenizer, spec.model_extra or {})
    return TemplateRenderer.load(template_directory, tokenizer, spec.model_extra or {})
