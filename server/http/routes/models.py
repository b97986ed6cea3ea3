"""The names that requests may use as `model`."""

from starlette.requests import Request
from starlette.responses import Response

from motet.client.protocol import AdapterCard, ModelCard, ModelList
from motet.engine import Adapter
from motet.server.http.responses import json_response
from motet.server.http.service import Service
from motet.server.text.served import Served


async def list_models(service: Service, http: Request) -> Response:
    """The base model, then its adapters."""
    served = service.served
    adapters = [_adapter_card(served, adapter) for adapter in served.names.adapters.values()]
    return json_response(ModelList(data=[_base_card(served), *adapters]))


async def get_model(service: Service, http: Request) -> Response:
    """One of them, also as `base:adapter`; 404 for any other name."""
    served = service.served
    adapter = served.names.resolve(http.path_params["model"])
    return json_response(_adapter_card(served, adapter) if adapter else _base_card(served))


def _base_card(served: Served) -> ModelCard:
    return ModelCard(
        id=served.name,
        created=served.since_s,
        root=served.info.model,
        max_model_len=served.info.max_model_len,
        vocab_size=served.info.vocab_size,
    )


def _adapter_card(served: Served, adapter: Adapter) -> ModelCard:
    return ModelCard(
        id=adapter.name,
        created=served.since_s,
        root=adapter.path,
        parent=served.name,
        max_model_len=served.info.max_model_len,
        vocab_size=served.info.vocab_size,
        adapter=AdapterCard(
            digest=adapter.digest,
            generation=adapter.generation,
            max_rank=adapter.max_rank,
            num_pages=adapter.num_pages,
        ),
    )
