# docker build --tag motet .
# docker run --publish 8000:8000 motet                      the model that comes with motet
# docker run --publish 8000:8000 --volume DIRECTORY:/models:ro motet serve /models/MODEL
#
# The image serves on CPU. For a GPU, name the PyTorch package index of its CUDA version:
# docker build --build-arg TORCH_INDEX_URL=https://download.pytorch.org/whl/cu130 --tag motet:cuda .

ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu

FROM python:3.11-slim AS wheel
COPY . /src
RUN pip wheel --no-deps --wheel-dir /wheel /src

FROM python:3.11-slim AS packages
ARG TORCH_INDEX_URL
ENV PATH=/opt/motet/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/motet
# torch first: its layer is the largest and changes least. Its builds of that index are preferred
# to those of PyPI, because their versions have a suffix.
COPY constraints.txt /
RUN pip install --constraint /constraints.txt --extra-index-url "$TORCH_INDEX_URL" torch
COPY --from=wheel /wheel /wheel
RUN pip install --constraint /constraints.txt /wheel/*.whl

FROM python:3.11-slim AS serve
# The kernels are compiled when they first run, for the processor that is found there.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
COPY --from=packages /opt/motet /opt/motet
RUN useradd --create-home --uid 1000 motet
USER 1000
WORKDIR /home/motet
# Another port outside is for --publish to say; this one is what the health check asks.
ENV PATH=/opt/motet/bin:$PATH PYTHONUNBUFFERED=1 MOTET_HOST=0.0.0.0 MOTET_PORT=8000
EXPOSE 8000
HEALTHCHECK --start-period=60s --timeout=5s CMD ["python", "-c", "import http.client, os, sys; server = http.client.HTTPConnection('127.0.0.1', int(os.environ['MOTET_PORT']), timeout=4); server.request('GET', '/health'); sys.exit(server.getresponse().status != 200)"]
ENTRYPOINT ["motet"]
CMD ["serve"]
