"""Does the whole context work? `python -m motet.demo.make.context [DIRECTORY]`.

Prints the loss of answers by where in the context they stand, in chats that training has not seen.
"""

import random
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.nn import functional
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from motet.demo.make.check import SHIPPED
from motet.demo.make.corpus import Rows, long_documents, packed
from motet.demo.make.tokenizer import MAX_TOKENS

NUM_ROWS = 8
BOUNDS = (0, 256, 512, 1024, 2048, MAX_TOKENS)


def main(
    directory: Annotated[Path, typer.Argument(help="Holds town.")] = SHIPPED,
) -> None:
    """Measure the loss of the demo model by position."""
    table = Table("positions", "loss of answers")
    for (start, end), loss in losses_by_position(directory).items():
        table.add_row(f"{start} to {end - 1}", f"{loss:.3f}")
    Console().print(table)


def losses_by_position(directory: Path) -> dict[tuple[int, int], float]:
    """From and to which position -> mean loss of the answers there."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(directory / "town")
    model: Any = LlamaForCausalLM.from_pretrained(directory / "town", dtype=torch.float32)
    dice = random.Random("context")
    rows = packed(long_documents(dice), tokenizer, NUM_ROWS, MAX_TOKENS, dice)
    is_answer = rows.weights == 1
    losses = torch.stack([_losses(model, rows.part(i, 1)) for i in track(range(NUM_ROWS))])
    return {
        (start, end): losses[:, start:end][is_answer[:, start:end]].mean().item()
        for start, end in pairwise(BOUNDS)
    }


@torch.inference_mode()
def _losses(model: Any, row: Rows) -> Tensor:
    """Of each prediction of one row."""
    logits = model(input_ids=row.ids[:, :-1], use_cache=False).logits
    return functional.cross_entropy(logits[0], row.ids[0, 1:], reduction="none")


if __name__ == "__main__":
    typer.run(main)
