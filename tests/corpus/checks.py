"""Compares what motet answers for a case with what the real libraries do with its files."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from motet import LLM, SamplingParams
from motet.llm import Completion
from motet.server.text.tokenizer import Tokenizer
from tests.corpus.cases import Case
from tests.corpus.companions import COMPANIONS, OWN_END, rendered
from tests.corpus.directories import Directories
from tests.corpus.models import ends_of
from tests.corpus.quiet import quiet
from tests.corpus.texts import TEXTS
from tests.corpus.tokenizer_judges import Judge
from tests.reference import check_greedy

TUNED = "tuned"
PROMPT_LENGTHS = (4, 17, 45)
"""In tokens: the last is longer than what extended models call their original length."""
NUM_TOKENS = 10
GREEDY = SamplingParams(temperature=0, max_tokens=NUM_TOKENS, ignore_eos=True)
SOME_IDS = (2, 5, 7)
"""Which are ends in some cases and none in others."""
MESSAGE = "Hello  world 12"


@dataclass(frozen=True, slots=True)
class Count:
    """Of positions: compared with the reference, and left out since its two best are too near."""

    compared: int = 0
    excluded: int = 0


def check_texts(directories: Directories, llm: LLM, judge: Judge) -> None:
    """The ids of every text, as a prompt of the model and alone, and the text of those ids."""
    tokenizer = Tokenizer.load(str(directories.model))
    judged = [text for text in TEXTS if judge.judges(text)]
    for text in judged:
        for adds in (True, False):
            expected = judge.encode(text, add_special_tokens=adds)
            got = tokenizer.encode(text, add_special_tokens=adds)
            assert got == expected, f"ids of {text!r}, special tokens {adds}"
        assert tokenizer.decode(got) == judge.decode(got, skip_special_tokens=False)
        assert tokenizer.spelled(got).text == judge.decode(got, skip_special_tokens=True)
    prompts = [text for text in judged[::4] if judge.encode(text, add_special_tokens=True)]
    answers = llm.generate(prompts, SamplingParams(temperature=0, max_tokens=1))
    for text, answer in zip(prompts, answers, strict=True):
        expected = judge.encode(text, add_special_tokens=True)
        assert list(answer.prompt_token_ids) == expected, f"prompt {text!r}"


def check_chat(case: Case, llm: LLM, judge: Judge) -> None:
    """The ids of a conversation: by the model's template, and by that of the adapter."""
    said = [{"role": "user", "content": MESSAGE}]
    wish = SamplingParams(max_tokens=1)
    for adapter in _rows(case):
        companions = COMPANIONS[case.companions if adapter else "alone"]
        text = rendered(companions, MESSAGE)
        (answer,) = llm.chat(said, wish, adapter=adapter)
        expected = judge.encode(text, add_special_tokens=False)
        assert list(answer.prompt_token_ids) == expected, f"conversation with {adapter}"


def check_ends(case: Case, llm: LLM, judge: Judge | None, num_ids: int) -> None:
    """Exactly the ends that the files name end an answer, whatever else is likely."""
    named = ends_of(case.model, judge.end_ids() if judge else set())
    has_own = COMPANIONS[case.companions].has_own_end
    for adapter, ends in {None: named, TUNED: named | {OWN_END}}.items():
        if adapter is None or has_own:
            for token_id in sorted(ends | {*SOME_IDS, OWN_END}):
                is_end = token_id < num_ids and _ends(llm, token_id, adapter)
                assert is_end == (token_id in ends), f"{token_id} with {adapter}: ends {ends}"


def check_tokens(
    case: Case, directories: Directories, llm: LLM, base: PreTrainedModel, num_ids: int
) -> Count:
    """Greedy tokens of model and adapter, in one batch, against transformers and PEFT."""
    dice = random.Random(case.name)
    prompts = [[dice.randrange(num_ids) for _ in range(length)] for length in PROMPT_LENGTHS]
    rows = _rows(case)
    answers = llm.generate(
        [prompt for prompt in prompts for _ in rows], GREEDY, adapter=list(rows) * len(prompts)
    )
    tokens = [answer.completions[0].token_ids for answer in answers]
    excluded = _excluded(prompts, tokens[:: len(rows)], base, num_ids)
    if directories.as_peft_saved is not None:
        with quiet():
            adapted = PeftModel.from_pretrained(base, str(directories.as_peft_saved)).eval()
            try:
                excluded += _excluded(prompts, tokens[1::2], adapted, num_ids)
            finally:
                adapted.unload()
    return Count(NUM_TOKENS * len(tokens), excluded)


@torch.inference_mode()
def _excluded(
    prompts: Sequence[Sequence[int]],
    tokens: Sequence[Sequence[int]],
    model: torch.nn.Module,
    num_ids: int,
) -> int:
    """Compare each row with the best tokens given all before; padding behind a row is not seen."""
    rows = [[*prompt, *answer] for prompt, answer in zip(prompts, tokens, strict=True)]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    logits: Tensor = model(ids).logits.float()
    num_excluded = 0
    for index, (prompt, answer) in enumerate(zip(prompts, tokens, strict=True)):
        assert len(answer) == NUM_TOKENS
        of_row = logits[index, len(prompt) - 1 : len(rows[index]) - 1, :num_ids]
        num_excluded += check_greedy(answer, of_row)
    return num_excluded


def _ends(llm: LLM, token_id: int, adapter: str | None) -> bool:
    wish = SamplingParams(temperature=0, max_tokens=1, logit_bias={str(token_id): 100})
    (answer,) = llm.generate([[5, 6]], wish, adapter=adapter)
    completion: Completion = answer.completions[0]
    return completion.finish_reason == "stop"


def _rows(case: Case) -> tuple[str | None, ...]:
    return (None,) if case.adapter is None else (None, TUNED)
