"""Compile every Triton kernel for one GPU architecture, without a GPU.

Run as a module with the compute capability and dtypes as its arguments, in a process where
TRITON_INTERPRET is not set: there the kernels are compiled functions. Exits 1 when a kernel cannot
be compiled, needs more shared memory than the GPU has, or is not in `LAUNCHES`.
"""

import importlib
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime import JITFunction

import motet.kernels.triton
from motet.memory.layout import TILE_RANKS

Constant = int | tuple[int, ...]

WARP_SIZE = 32
SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024}
"""Most shared memory of one program, by compute capability (CUDA programming guide)."""

ENGINE = "engine dtype"


@dataclass(frozen=True, slots=True)
class Launch:
    """How a kernel is called. Arguments that are named nowhere are int32."""

    types: dict[str, str]
    constants: dict[str, Constant]

    def signature(self, kernel: JITFunction, dtype: str) -> dict[str, str]:
        types = {name: t.replace(ENGINE, dtype) for name, t in self.types.items()}
        types |= dict.fromkeys(self.constants, "constexpr")
        return {name: types.get(name, "i32") for name in kernel.arg_names}


CHUNKS = dict.fromkeys(
    ("row_index_ptr", "chunk_slot_ptr", "chunk_start_ptr", "chunk_len_ptr", "num_chunks_ptr"),
    "*i32",
)
TABLES = {
    "arena_ptr": f"*{ENGINE}",
    "tile_offset_ptr": "*i64",
    "rank_ptr": "*i32",
    "shrunk_ptr": "*fp32",
}
TILES: dict[str, Constant] = {"BLOCK_ROWS": 16, "BLOCK_RANK": 16, "TILE_RANKS": TILE_RANKS}
ATTENTION = (
    dict.fromkeys(("out_ptr", "query_ptr", "kv_ptr"), f"*{ENGINE}")
    | dict.fromkeys(("query_start_ptr", "context_len_ptr", "page_table_ptr"), "*i32")
    | {"scale_log2": "fp32"}
)
LAUNCHES = {
    "_shrink_kernel": [
        Launch(
            CHUNKS | TABLES | {"x_ptr": f"*{ENGINE}", "scale_ptr": "*fp32"},
            TILES | {"BLOCK_IN": 128},
        )
    ],
    "_embed_kernel": [
        Launch(CHUNKS | TABLES | {"token_ids_ptr": "*i64", "scale_ptr": "*fp32"}, dict(TILES))
    ],
    "_expand_kernel": [
        Launch(
            CHUNKS | TABLES | {"y_ptr": f"*{ENGINE}", "gain_offset_ptr": "*i64"},
            TILES | {"BLOCK_OUT": 128, "OUT_START": (0, 4096, 5120, 6144), "NO_GAIN": -1},
        )
    ],
    "_write_kv_kernel": [
        Launch(
            dict.fromkeys(("kv_ptr", "key_ptr", "value_ptr"), f"*{ENGINE}")
            | {"kv_index_ptr": "*i64"},
            {"BLOCK": 1024},
        )
    ],
    "_attention_kernel": [
        Launch(
            ATTENTION,
            {"BLOCK_QUERIES": queries, "BLOCK_POSITIONS": 32, "BLOCK_DIM": 128},
        )
        for queries in (16, 64)
    ],
}
CALLED_BY_KERNELS = {"dot"}
"""Functions that are compiled as part of the kernels that call them."""


def main(capability: int, dtypes: Sequence[str]) -> None:
    kernels = {kernel.__name__: kernel for kernel in jit_functions()}
    kernels = {name: kernels[name] for name in kernels.keys() - CALLED_BY_KERNELS}
    if kernels.keys() != LAUNCHES.keys():
        sys.exit(f"kernels {sorted(kernels)} differ from LAUNCHES {sorted(LAUNCHES)}")
    for name, launches in LAUNCHES.items():
        for launch in launches:
            for dtype in dtypes:
                compile_kernel(kernels[name], launch, dtype, capability)


def jit_functions() -> Iterator[JITFunction]:
    """Everything decorated with @triton.jit in the modules of the backend."""
    package = motet.kernels.triton
    for module_info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        module = importlib.import_module(module_info.name)
        yield from (value for value in vars(module).values() if isinstance(value, JITFunction))


def compile_kernel(kernel: JITFunction, launch: Launch, dtype: str, capability: int) -> None:
    source = ASTSource(kernel, launch.signature(kernel, dtype), launch.constants)
    target = GPUTarget("cuda", capability, WARP_SIZE)
    compiled = triton.compile(source, target, options={"enable_fp_fusion": True})
    needed = compiled.metadata.shared
    if needed > SHARED_BYTES[capability]:
        sys.exit(f"{kernel.__name__} in {dtype} needs {needed} bytes of shared memory")
    print(f"{kernel.__name__} {dtype} sm_{capability}: {needed} bytes of shared memory")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
