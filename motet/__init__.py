"""motet serves one frozen base LLM to many LoRA adapters and many agents from one accelerator."""

__version__ = "0.1.0"
