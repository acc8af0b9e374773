"""The models by their names."""

from collections.abc import Sequence
from typing import Any

from forethought.api.errors import ApiError
from forethought.api.served import ServedModel

OWNER = "forethought"


class Catalog:
    """What the server offers; the names are unique."""

    def __init__(self, models: Sequence[ServedModel]) -> None:
        self._by_name = {name: served for served in models for name in (served.alias, served.snapshot)}

    def find(self, name: str) -> ServedModel:
        """The model of a name, alias or dated. Raises `ApiError` 404."""
        served = self._by_name.get(name)
        if served is None:
            message = (
                f"The model `{name[:100]}` does not exist. Known are: {', '.join(f'`{one}`' for one in self._by_name)}."
            )
            raise ApiError(404, message, type="not_found_error", param="model", code="model_not_found")
        return served

    def entry(self, name: str) -> dict[str, Any]:
        """A name as OpenAI describes a model. Raises `ApiError` 404."""
        return {"id": name, "object": "model", "created": self.find(name).created, "owned_by": OWNER}

    def entries(self) -> dict[str, Any]:
        """All names."""
        return {"object": "list", "data": [self.entry(name) for name in self._by_name]}
