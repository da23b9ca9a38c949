"""The class of every route: what is checked of a request before its handler runs."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response, params
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from interfaces.http.json_body import ExactRequest, MalformedBody, check_media_type
from interfaces.http.query import check_query, query_names


class ExactRoute(APIRoute):
    """A route that takes no query parameter it does not know, and reads a JSON body exactly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        field = self.body_field
        reads_json = field is not None and not isinstance(field.field_info, params.Form)
        names = query_names(self.dependant)

        async def exact(request: Request) -> Response:
            check_query(request, names)
            if reads_json:
                check_media_type(request)
            try:
                return await handle(ExactRequest(request.scope, request.receive))
            except HTTPException as error:
                # FastAPI hides what is wrong with a body behind a text of its own.
                if isinstance(error.__cause__, MalformedBody):
                    raise error.__cause__ from None
                raise

        return exact
