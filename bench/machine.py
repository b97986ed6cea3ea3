"""What every number depends on: the machine."""

import datetime
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

GIB = 1024**3

MATTERING = (
    *("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimd", "sve", "i8mm", "bf16"),
)
"""Instruction sets, as /proc/cpuinfo of x86 and of Arm names them."""

BF16 = {"avx512_bf16", "amx_bf16", "bf16"}


@dataclass(frozen=True, slots=True)
class Machine:
    processor: str
    cores: int
    """That this process may use."""
    instructions: tuple[str, ...]
    memory_bytes: int
    accelerator: str | None
    python: str
    date: str

    @property
    def device(self) -> str:
        return "cuda" if self.accelerator else "cpu"

    @property
    def dtype(self) -> str:
        """The fastest that the device computes in natively."""
        has_bf16 = self.accelerator or BF16.intersection(self.instructions)
        return "bfloat16" if has_bf16 else "float32"

    def line(self, threads: int) -> str:
        """All of it in one line; `threads` are those that were used."""
        instructions = ", ".join(self.instructions) or "no instruction sets that matter"
        return (
            f"{self.processor} ({instructions}), {self.cores} cores, "
            f"{self.memory_bytes / GIB:.0f} GiB, {self.accelerator or 'no GPU'}; "
            f"threads: {threads}; Python {self.python}, torch {torch.__version__}; {self.date}"
        )


def this_machine() -> Machine:
    facts = _cpu_facts(Path("/proc/cpuinfo").read_text())
    flags = (facts.get("flags") or facts.get("Features", "")).split()
    return Machine(
        processor=facts.get("model name", platform.processor() or platform.machine()),
        cores=len(os.sched_getaffinity(0)),
        instructions=tuple(name for name in MATTERING if name in flags),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        accelerator=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        python=platform.python_version(),
        date=datetime.date.today().isoformat(),
    )


def _cpu_facts(cpuinfo: str) -> dict[str, str]:
    """Of the first core."""
    lines = (line.partition(":") for line in cpuinfo.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}
