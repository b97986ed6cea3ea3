"""Names of the files in directories of models and of adapters."""

MODEL_CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
MODEL_WEIGHTS = "model.safetensors"
MODEL_WEIGHTS_INDEX = f"{MODEL_WEIGHTS}.index.json"
"""Says which shard holds which tensor."""

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SENTENCEPIECE_MODEL = "tokenizer.model"
