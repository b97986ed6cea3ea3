"""What PEFT saves that is no LoRA at all: refused by the name of its method."""

from collections.abc import Mapping
from typing import Any

TARGETS = {"target_modules": ["q_proj", "v_proj"]}
VIRTUAL = {"num_virtual_tokens": 4}

METHODS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "ADALORA": ("AdaLoraConfig", TARGETS | {"total_step": 10}),
    "C3A": ("C3AConfig", TARGETS | {"block_size": 16}),
    "DELORA": ("DeloraConfig", TARGETS),
    "FOURIERFT": ("FourierFTConfig", TARGETS | {"n_frequency": 16}),
    "GRALORA": ("GraloraConfig", TARGETS),
    "HIRA": ("HiraConfig", TARGETS),
    "HRA": ("HRAConfig", TARGETS),
    "IA3": ("IA3Config", TARGETS | {"feedforward_modules": []}),
    "LN_TUNING": ("LNTuningConfig", {}),
    "LOHA": ("LoHaConfig", TARGETS),
    "LOKR": ("LoKrConfig", TARGETS),
    "MISS": ("MissConfig", TARGETS),
    "OFT": ("OFTConfig", TARGETS | {"oft_block_size": 4}),
    "PREFIX_TUNING": ("PrefixTuningConfig", VIRTUAL),
    "PROMPT_TUNING": ("PromptTuningConfig", VIRTUAL),
    "P_TUNING": ("PromptEncoderConfig", VIRTUAL | {"encoder_hidden_size": 8}),
    "RANDLORA": ("RandLoraConfig", TARGETS),
    "ROAD": ("RoadConfig", TARGETS | {"group_size": 16}),
    "SHIRA": ("ShiraConfig", TARGETS | {"r": 2}),
    "TRAINABLE_TOKENS": ("TrainableTokensConfig", {"token_indices": [3]}),
    "VBLORA": ("VBLoRAConfig", TARGETS | {"vector_length": 16, "num_vectors": 8}),
    "VERA": ("VeraConfig", TARGETS),
    "WAVEFT": ("WaveFTConfig", TARGETS | {"n_frequency": 16}),
}
"""peft_type -> class of PEFT, and arguments with which it can be made for the tiny models."""
