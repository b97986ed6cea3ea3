"""The counts and times of `server/http/metrics.py`."""

from starlette.requests import Request
from starlette.responses import Response

from motet.server.http.service import Service


async def metrics(service: Service, http: Request) -> Response:
    """All series, in Prometheus' text format."""
    body, content_type = service.metrics.exposition(http.headers.get("accept", ""))
    return Response(body, headers={"Content-Type": content_type})
