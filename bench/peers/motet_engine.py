"""motet in process, with the defaults of `motet serve`."""

from collections import Counter
from collections.abc import Sequence

from motet import LLM, SamplingParams
from motet.bench.peers.engine import Counts, Setup, Tokens


class MotetEngine:
    """Counts steps to know how many requests ran together."""

    def __init__(self, setup: Setup) -> None:
        adapters = {name: str(path) for name, path in setup.adapters.items()}
        self._llm = LLM(str(setup.model), adapters, has_progress=False, dtype=setup.dtype)
        self._adapters_in_step = 0

    def generate(self, prompts: Tokens, adapters: Sequence[str | None], num_tokens: int) -> Tokens:
        sampling = SamplingParams(temperature=0, max_tokens=num_tokens, ignore_eos=True)
        steps = self._llm.stats.steps
        answers = self._llm.generate(prompts, sampling, adapter=adapters)
        num_rows = len(prompts) * num_tokens / (self._llm.stats.steps - steps)
        self._adapters_in_step = max(self._adapters_in_step, fewest_adapters(adapters, num_rows))
        return [list(answer.completions[0].token_ids) for answer in answers]

    def counts(self) -> Counts:
        return Counts(self._llm.stats.prefix_hit_tokens, self._adapters_in_step)


def fewest_adapters(adapters: Sequence[str | None], num_rows: float) -> int:
    """Distinct adapters that some step must have had if steps had `num_rows` rows on average.

    Some step had that many rows or more; at worst they were those of the most used adapters.
    """
    num_adapters = 0
    for name, count in Counter(adapters).most_common():
        if num_rows <= 0:
            break
        num_rows -= count
        num_adapters += name is not None
    return num_adapters
