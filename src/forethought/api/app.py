"""The application: OpenAI's APIs over the models that are served."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from forethought import __version__
from forethought.api.admission import Admission
from forethought.api.auth import HostGuard, KeyGuard
from forethought.api.body import BodyReader
from forethought.api.catalog import Catalog
from forethought.api.engines import Engines
from forethought.api.exchange import Desk
from forethought.api.frame import Frame, fixed_headers
from forethought.api.openapi import describe
from forethought.api.routes import operations
from forethought.api.threads import Threads
from forethought.api.unknown import refuse

if TYPE_CHECKING:
    from forethought.api.options import ServerOptions
    from forethought.api.served import ServedModel

TITLE = "Forethought"


def create_app(models: Sequence[ServedModel], options: ServerOptions) -> FastAPI:
    """The application over `models`, whose engines it starts and ends with itself.

    `app.state` has what is needed to run it: `engines` and `admission`, to hear of a model that cannot be loaded and to
    end in order, and the `headers` of every response.
    """
    engines, admission, threads = Engines(models), Admission(options.max_requests), Threads()
    desk = Desk(options, Catalog(models), admission, BodyReader(options), threads, engines)

    @cache
    def document() -> dict[str, Any]:
        return describe(table, title=TITLE, version=__version__, keyed=options.key is not None)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        engines.start()
        try:
            yield
        finally:
            threads.close()
            await engines.close()

    table = operations(desk, engines, document)
    app = FastAPI(
        title=TITLE,
        version=__version__,
        routes=[operation.route for operation in table],
        lifespan=lifespan,
        openapi_url=None,  # the document comes from the table, like the routes
        redirect_slashes=False,
        exception_handlers={HTTPException: refuse},
    )
    app.openapi = document
    app.state.engines, app.state.admission = engines, admission
    app.state.headers = fixed_headers(options)
    # The last one added is the outermost.
    if options.key is not None:
        app.add_middleware(KeyGuard, key=options.key)
    else:
        app.add_middleware(HostGuard)
    app.add_middleware(Frame, options=options)
    return app
