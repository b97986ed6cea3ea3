"""motet serves one frozen base LLM to many LoRA adapters and many agents from one accelerator."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motet.llm import LLM, SamplingParams

__version__ = "0.1.0"
__all__ = ["LLM", "SamplingParams", "__version__"]


def __getattr__(name: str) -> Any:
    """The offline engine, imported when it is first asked for: that takes seconds."""
    if name in ("LLM", "SamplingParams"):
        from motet import llm

        return getattr(llm, name)
    raise AttributeError(f"module 'motet' has no attribute {name!r}")
