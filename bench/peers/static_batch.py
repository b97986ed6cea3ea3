"""transformers, and PEFT on top of it: all requests in one batch until the last token."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from motet.bench.peers.engine import Counts, Setup, Tokens


class TransformersEngine:
    """The base model alone; has no adapters to choose from."""

    def __init__(self, setup: Setup) -> None:
        self._model = _load(setup)

    def generate(self, prompts: Tokens, adapters: Sequence[str | None], num_tokens: int) -> Tokens:
        return _generate(self._model, prompts, num_tokens)

    def counts(self) -> Counts:
        return Counts(prefix_hits=0, adapters_in_step=0)  # it keeps nothing between batches


class PeftEngine:
    """Adapters beside the weights, chosen for each row with `adapter_names`."""

    def __init__(self, setup: Setup) -> None:
        from peft import PeftModel

        (first, path), *others = setup.adapters.items()
        # Adapters stay in their dtype: PEFT would make bfloat16 ones float32, which is slower.
        self._model: Any = PeftModel.from_pretrained(
            _load(setup), str(path), adapter_name=first, autocast_adapter_dtype=False
        )
        for name, path in others:
            self._model.load_adapter(str(path), adapter_name=name, autocast_adapter_dtype=False)
        self._model.train(False)
        self._adapters_in_step = 0

    def generate(self, prompts: Tokens, adapters: Sequence[str | None], num_tokens: int) -> Tokens:
        self._adapters_in_step = max(self._adapters_in_step, len(set(adapters)))
        return _generate(self._model, prompts, num_tokens, adapter_names=list(adapters))

    def counts(self) -> Counts:
        return Counts(0, self._adapters_in_step)


def _load(setup: Setup) -> Any:
    disable_progress_bar()  # type: ignore[no-untyped-call]
    model: Any = AutoModelForCausalLM.from_pretrained(
        setup.model, dtype=setup.dtype, attn_implementation="sdpa"
    )
    return model.to(setup.device)


@torch.inference_mode()
def _generate(model: Any, prompts: Tokens, num_tokens: int, **options: Any) -> Tokens:
    """The prompts are of one length, so that the batch has no padding."""
    ids = torch.tensor(prompts, device=model.device)
    output = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        min_new_tokens=num_tokens,
        max_new_tokens=num_tokens,
        pad_token_id=0,
        **options,
    )
    new: Tokens = output[:, ids.shape[1] :].tolist()
    return new
