"""Load and unload adapters, as clients of vLLM and of SGLang ask for it."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from motet.client.protocol import LoadAdapterRequest, LoadedAdapters, UnloadAdapterRequest
from motet.errors import AdapterExists, ModelNotFound
from motet.server.http.body import read_body
from motet.server.http.responses import json_response
from motet.server.http.service import Service


async def load_lora_adapter(service: Service, http: Request) -> Response:
    """Read an adapter of this machine and let requests name it; answered when it is there."""
    wish = await _load(service, http, "The lora adapter '{}' has already been loaded.")
    return PlainTextResponse(f"Success: LoRA adapter '{wish.lora_name}' added successfully.")


async def unload_lora_adapter(service: Service, http: Request) -> Response:
    """Requests cannot name it any more; those that began on it end on it."""
    wish = await _unload(service, http, "The lora adapter '{}' cannot be found.")
    return PlainTextResponse(f"Success: LoRA adapter '{wish.lora_name}' removed successfully.")


async def load_lora_adapter_sglang(service: Service, http: Request) -> Response:
    """As /v1/load_lora_adapter, with SGLang's answer."""
    await _load(service, http, "LoRA adapter '{}' is already loaded.")
    return _all_loaded(service)


async def unload_lora_adapter_sglang(service: Service, http: Request) -> Response:
    """As /v1/unload_lora_adapter, with SGLang's answer."""
    await _unload(service, http, "LoRA adapter '{}' has never been loaded.")
    return _all_loaded(service)


async def _load(service: Service, http: Request, taken: str) -> LoadAdapterRequest:
    """`taken` is what to say where the name is."""
    served = service.served
    wish = await read_body(service, http, LoadAdapterRequest)
    try:
        await service.adapters.load(served, wish)
    except AdapterExists as error:
        remedy = "If you want to load the adapter in place, set 'load_inplace' to True."
        message = f"{taken.format(wish.lora_name)} {remedy}"
        raise AdapterExists(message, param="lora_name") from error
    return wish


async def _unload(service: Service, http: Request, unknown: str) -> UnloadAdapterRequest:
    """`unknown` is what to say where there is none."""
    _ = service.served
    wish = await read_body(service, http, UnloadAdapterRequest)
    try:
        await service.adapters.unload(wish.lora_name)
    except ModelNotFound as error:
        message = f"{unknown.format(wish.lora_name)} GET /v1/models lists all."
        raise ModelNotFound(message, code="adapter_not_loaded", param="lora_name") from error
    return wish


def _all_loaded(service: Service) -> Response:
    current = service.engine.adapters.current.values()
    paths = {adapter.name: adapter.path for adapter in current}
    return json_response(LoadedAdapters(success=True, loaded_adapters=paths))
