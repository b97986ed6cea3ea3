"""The names that requests may use as `model`."""

from starlette.requests import Request
from starlette.responses import Response

from motet.errors import ModelNotFound
from motet.server.http.model_list import adapter_card, base_card, leaving_named
from motet.server.http.responses import json_response
from motet.server.http.service import Service


async def list_models(service: Service, http: Request) -> Response:
    """The base model, then its adapters; last those that are leaving, as `name@generation`."""
    body = await service.model_list.get(service.served, service.aside)
    return Response(body, media_type="application/json")


async def get_model(service: Service, http: Request) -> Response:
    """One of them, also as `base:adapter`; 404 for any other name."""
    served = service.served
    model = http.path_params["model"]
    try:
        adapter = await service.adapters.look_up(served, model)
    except ModelNotFound:
        leaving = leaving_named(served, model)
        if leaving is None:
            raise
        return json_response(adapter_card(served, leaving, is_leaving=True))
    return json_response(adapter_card(served, adapter) if adapter else base_card(served))
