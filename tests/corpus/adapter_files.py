"""Adapter directories, trained and saved by PEFT itself."""

import json
import math
from pathlib import Path
from typing import Any

import peft
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import Embedding, Linear, LoraLayer
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from tests.corpus.adapter_kinds import ATTENTION, LORA_KINDS, LoraKind
from tests.corpus.models import DTYPES, ModelShelf, Weights
from tests.corpus.other_methods import METHODS
from tests.corpus.quiet import quiet

WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
DEFAULTS: dict[str, Any] = {"r": 8, "target_modules": ATTENTION, "task_type": "CAUSAL_LM"}

ADAPTERS = (*LORA_KINDS, *METHODS)
"""Names of all."""


class AdapterShelf:
    """Trains each adapter once for each weights file and dtype."""

    def __init__(self, models: ModelShelf, root: Path) -> None:
        self._models = models
        self._root = root

    def directory(self, name: str, weights: Weights, dtype: str) -> Path:
        """As PEFT saves it, its matrices in `dtype`."""
        path = self._root / f"{name}-{weights.name}-{dtype}"
        if not path.exists():
            with quiet():
                torch.manual_seed(len(name))
                model = self._models.trained_for(weights)
                if name in METHODS:
                    _save_other(model, path, name)
                else:
                    _save_lora(model, path, LORA_KINDS[name])
                    _finish(path, LORA_KINDS[name], dtype)
        return path


def refusal_of(name: str, weights: Weights) -> str:
    """A word of the error with which the adapter is refused; "" if it is served."""
    return name if name in METHODS else LORA_KINDS[name].refusal_for(weights)


def is_made(name: str, weights: Weights) -> bool:
    return name in METHODS or LORA_KINDS[name].only(weights)


def _save_other(model: PreTrainedModel, path: Path, name: str) -> None:
    config_class, arguments = METHODS[name]
    config = getattr(peft, config_class)(task_type="CAUSAL_LM", **arguments)
    get_peft_model(model, config).save_pretrained(str(path))


def _save_lora(model: PreTrainedModel, path: Path, kind: LoraKind) -> None:
    if kind.prepare is not None:
        kind.prepare(model)
    config = LoraConfig(**DEFAULTS | dict(kind.config))
    init = config.init_lora_weights
    adapted = get_peft_model(model, config)
    saving = dict(kind.saving)
    if kind.is_converted:
        config.init_lora_weights = True
        adapted.save_pretrained(str(path / "initial"))
        config.init_lora_weights = init
        saving["path_initial_model_for_weight_conversion"] = str(path / "initial")
    _train(adapted, trains_copies=kind.trains_copies)
    adapted.save_pretrained(str(path), **saving)


def _finish(path: Path, kind: LoraKind, dtype: str) -> None:
    """What happens to files between a trainer and a server."""
    if kind.edit:
        config = json.loads((path / CONFIG_FILE).read_text())
        (path / CONFIG_FILE).write_text(json.dumps(config | dict(kind.edit)))
    if kind.empties or dtype != "f32":
        tensors = load_file(path / WEIGHTS_FILE)
        cast = {name: _cast(name, tensor, dtype) for name, tensor in tensors.items()}
        if kind.empties:
            cast = {name: torch.zeros(0) for name in cast}
        save_file(cast, path / WEIGHTS_FILE, {"format": "pt"})


def _cast(name: str, tensor: Tensor, dtype: str) -> Tensor:
    """Trainers cast what they train; copies of the base stay as they are."""
    return tensor.to(DTYPES[dtype]) if "lora_" in name else tensor


def _train(adapted: PeftModel, *, trains_copies: bool) -> None:
    """Change everything that is trained, as much as a base weight weighs."""
    with torch.no_grad():
        for layer in adapted.modules():
            if isinstance(layer, LoraLayer):
                _shift(layer)
                for magnitude in layer.lora_magnitude_vector.parameters():
                    magnitude.mul_(1 + 0.3 * torch.randn_like(magnitude))
        for name, parameter in adapted.named_parameters() if trains_copies else ():
            if "modules_to_save" in name or name.endswith(".bias"):
                parameter.add_(torch.randn_like(parameter), alpha=0.1)


def _shift(layer: Any) -> None:
    """Add to one factor until the product is half as large as the base, whatever the rank."""
    base: Tensor = layer.get_base_layer().weight.float()
    if isinstance(layer, Embedding):
        kept, changed = layer.lora_embedding_B["default"], layer.lora_embedding_A["default"]
    elif isinstance(layer, Linear):
        kept, changed = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    else:
        return
    if not kept.any():  # of inits that set the other factor
        kept, changed = changed, kept
    rank = layer.r["default"]
    spread = abs(layer.scaling["default"]) * math.sqrt(rank) * float(kept.float().std())
    changed.add_(torch.randn_like(changed), alpha=0.5 * float(base.std()) / spread)
