# docker build -t motet .
# docker run -p 8000:8000 -v DIRECTORY:/models:ro motet serve /models/MODEL --host 0.0.0.0
#
# The image serves on CPU. For a GPU, name the PyTorch package index of its CUDA version:
# docker build --build-arg TORCH_INDEX_URL=https://download.pytorch.org/whl/cu130 -t motet:cuda .

FROM python:3.11-slim AS build
COPY . /src
RUN pip wheel --no-deps --wheel-dir /wheel /src

FROM python:3.11-slim
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

# torch first: its layer is the largest and changes least.
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
COPY constraints.txt /
RUN pip install --constraint /constraints.txt --index-url "$TORCH_INDEX_URL" torch
COPY --from=build /wheel /wheel
RUN pip install --constraint /constraints.txt /wheel/*.whl

# Triton compiles its launchers when kernels first run.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home motet
USER motet
WORKDIR /home/motet
EXPOSE 8000
ENTRYPOINT ["motet"]
CMD ["--help"]
