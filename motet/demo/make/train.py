"""Make the demo model: `python -m motet.demo.make.train [DIRECTORY]`.

Writes DIRECTORY/town, DIRECTORY/voices/* and DIRECTORY/loss.json. Equal seeds, numbers of steps and
of threads give equal bytes on the same machine with the same versions.
"""

import json
import math
import random
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from motet.demo.make.circuit import set_induction
from motet.demo.make.corpus import (
    Document,
    Rows,
    base_documents,
    long_documents,
    name_documents,
    packed,
    voice_documents,
)
from motet.demo.make.tokenizer import BEGIN, END, MAX_TOKENS, VOCAB_SIZE, train_tokenizer
from motet.demo.make.voices import VOICES, Voice
from motet.file_names import ADAPTER_CONFIG

SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 5,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": MAX_TOKENS,
    "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e5},
}
POINTS = 40
"""Of each loss curve."""


@dataclass(frozen=True, slots=True)
class Phase:
    """How often to learn from how much, and how fast."""

    steps: int
    rows: int
    """Of one step."""
    length: int
    """Of a row, in tokens."""
    peak_rate: float
    final_rate: float
    warmup_steps: int = 0

    def rate(self, step: int) -> float:
        """Linear to the peak, then half a cosine."""
        if step < self.warmup_steps:
            return self.peak_rate * (step + 1) / self.warmup_steps
        share = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        cosine = (1 + math.cos(math.pi * share)) / 2
        return self.final_rate + (self.peak_rate - self.final_rate) * cosine


@dataclass(frozen=True, slots=True)
class Recipe:
    """The whole training."""

    short: Phase = Phase(3000, 4, 256, 2.5e-3, 3e-4, warmup_steps=100)
    long: Phase = Phase(48, 1, MAX_TOKENS, 4e-4, 3e-5)
    names: Phase = Phase(1200, 4, 256, 1.2e-3, 6e-5, warmup_steps=40)
    voice: Phase = Phase(80, 8, 256, 5e-3, 2e-4, warmup_steps=8)
    num_tokenizer_texts: int = 12_000
    """Chats and stories that its vocabulary is made for."""
    seed: int = 0


Curve = list[tuple[int, float]]
"""(step, loss) with the loss averaged since the point before."""


def make(directory: Path, recipe: Recipe, only: tuple[str, ...], progress: Progress) -> None:
    """Train what `only` names: town, names, voices; each goes on from what is written before."""
    base, losses = directory / "town", directory / "loss.json"
    curves: dict[str, Curve] = json.loads(losses.read_text()) if losses.exists() else {}
    if "town" in only:
        curves |= _make_town(base, recipe, progress)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(base)
    if "names" in only:
        curves["names"] = _make_names(base, tokenizer, recipe, progress)
    for name, voice in VOICES.items():
        if name in only:
            target = directory / "voices" / name
            curves[name] = _make_voice(name, voice, base, target, tokenizer, recipe, progress)
    losses.write_text(json.dumps(curves, indent=1))


def _make_town(base: Path, recipe: Recipe, progress: Progress) -> dict[str, Curve]:
    tokenizer = _make_tokenizer(recipe)
    torch.manual_seed(recipe.seed)
    ids = {"bos_token_id": BEGIN, "eos_token_id": END, "pad_token_id": END}
    special: Any = {name: tokenizer.vocab[token] for name, token in ids.items()}
    model: Any = LlamaForCausalLM(LlamaConfig(**SHAPE, **special))
    set_induction(model)
    curves = {}
    for name, phase, documents in (
        ("short", recipe.short, base_documents),
        ("long", recipe.long, long_documents),
    ):
        rows = _rows(documents, tokenizer, phase, _dice(recipe.seed, name))
        curves[f"town, {name}"] = _fit(model, rows, phase, f"town, {name} texts", progress)
    shutil.rmtree(base, ignore_errors=True)
    model.generation_config.update(temperature=0.7, do_sample=True, **special)
    torch.nn.Module.to(model, torch.bfloat16).save_pretrained(base)
    tokenizer.save_pretrained(base)
    _open_to_all(base)
    return curves


def _make_names(
    base: Path, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, progress: Progress
) -> Curve:
    """Go on with the base model as it was written, on names that it has not read."""
    model: Any = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    rows = _rows(name_documents, tokenizer, recipe.names, _dice(recipe.seed, "names"))
    curve = _fit(model, rows, recipe.names, "names", progress)
    model.to(torch.bfloat16).save_pretrained(base)
    _open_to_all(base)
    return curve


def _make_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    documents = islice(base_documents(_dice(recipe.seed, "tokenizer")), recipe.num_tokenizer_texts)
    return train_tokenizer("".join(piece.text for piece in document) for document in documents)


def _make_voice(
    name: str,
    voice: Voice,
    base: Path,
    target: Path,
    tokenizer: PreTrainedTokenizerFast,
    recipe: Recipe,
    progress: Progress,
) -> Curve:
    """Trained on the base as it is shipped: its weights have lost bits to bfloat16."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(recipe.seed)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=voice.rank,
        lora_alpha=voice.alpha,
        use_rslora=voice.use_rslora,
        target_modules=list(voice.targets),
    )
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries about each other
        adapted: Any = get_peft_model(model, config)
    phase = replace(recipe.voice, steps=recipe.voice.steps * voice.effort)
    documents = partial(voice_documents, voice)
    rows = _rows(documents, tokenizer, phase, _dice(recipe.seed, name))
    curve = _fit(adapted, rows, phase, name, progress)
    for parameter in adapted.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    shutil.rmtree(target, ignore_errors=True)
    adapted.save_pretrained(str(target))
    _settle(target, voice)
    return curve


def _settle(target: Path, voice: Voice) -> None:
    """Leave in a PEFT directory nothing that depends on the machine or on chance."""
    (target / "README.md").unlink()  # a form to fill in
    file = target / ADAPTER_CONFIG
    config = json.loads(file.read_text())
    config |= {"base_model_name_or_path": "town", "target_modules": list(voice.targets)}
    file.write_text(json.dumps(config, indent=2) + "\n")
    _open_to_all(target)


def _open_to_all(directory: Path) -> None:
    """Weights are written for their owner only; these are for everybody who has the package."""
    for path in directory.iterdir():
        path.chmod(0o644)


def _rows(
    documents: Callable[[random.Random], Iterator[Document]],
    tokenizer: PreTrainedTokenizerFast,
    phase: Phase,
    dice: random.Random,
) -> Rows:
    return packed(documents(dice), tokenizer, phase.steps * phase.rows, phase.length, dice)


def _fit(model: Any, rows: Rows, phase: Phase, name: str, progress: Progress) -> Curve:
    """All the model's trainable weights, by AdamW."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [w for w in weights if w.dim() > 1], "weight_decay": 0.05},
        {"params": [w for w in weights if w.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], betas=(0.9, 0.98), fused=True)
    model.train()
    curve: Curve = []
    recent: list[float] = []
    task = progress.add_task(name, total=phase.steps, loss="")
    for step in range(phase.steps):
        for group in optimizer.param_groups:
            group["lr"] = phase.rate(step)
        loss = _loss(model, rows.part(step * phase.rows, phase.rows))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        recent.append(loss.item())
        progress.update(task, advance=1, loss=f"loss {sum(recent[-20:]) / len(recent[-20:]):.3f}")
        if (step + 1) % max(1, phase.steps // POINTS) == 0:
            curve.append((step + 1, round(sum(recent) / len(recent), 4)))
            recent.clear()
    return curve


def _loss(model: Any, batch: Rows) -> Any:
    ids, targets = batch.ids[:, :-1], batch.ids[:, 1:]
    everywhere = torch.ones_like(ids)  # else gaps in the positions would count as borders
    logits = model(
        input_ids=ids,
        position_ids=batch.positions,
        attention_mask=everywhere,
        use_cache=False,
    ).logits  # [rows, length, vocabulary]
    losses = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return (losses * batch.weights.flatten()).sum() / batch.weights.sum()


def _dice(seed: int, name: str) -> random.Random:
    return random.Random(f"{seed} {name}")


def main(
    directory: Annotated[Path, typer.Argument(help="Where to write.")] = Path("demo-model"),
    seed: Annotated[int, typer.Option(help="Of the texts and the first weights.")] = 0,
    threads: Annotated[int, typer.Option(help="Of the processor; more may change last bits.")] = 2,
    only: Annotated[
        list[str] | None, typer.Option(help="town, names or a voice; default: all.")
    ] = None,
) -> None:
    """Make the demo model and its eight voices from text that is generated on the way."""
    everything = ("town", "names", *VOICES)
    for name in only or ():
        if name not in everything:
            sys.exit(f"--only is '{name}': choose from {', '.join(everything)}")
    if only and "town" not in only and not (directory / "town/config.json").exists():
        sys.exit(f"'{directory}' has no town that {', '.join(only)} could go on from: train it too")
    if find_spec("peft") is None:
        sys.exit("peft is missing, which trains the voices: pip install 'peft>=0.18'")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    start_s = time.monotonic()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        make(directory, Recipe(seed=seed), tuple(only or everything), progress)
    print(f"{directory}: made in {time.monotonic() - start_s:.0f} s")


if __name__ == "__main__":
    typer.run(main)
