"""How much state the agents of a trace have: what a pool is measured by."""

from collections import defaultdict, deque

from motet.bench.replay.costs import CostModel
from motet.client.workloads.trace import Call, Passage, Trace

NUM_NEXT = 32
"""Calls of an agent that may want back what an earlier one has computed."""

Text = tuple[Passage, ...]


class TraceState:
    """What will be wanted again, by the truth."""

    def __init__(self, trace: Trace, cost: CostModel, page_tokens: int) -> None:
        self.kept_tokens: dict[int, int] = {}
        """Call -> with how many of its tokens, and those of its answer, one of the agent's next
        few calls begins. Of calls after which none comes: 0."""
        self.expected_tokens: dict[int, int] = {}
        """Call -> with how many tokens of one of the agent's last few calls it begins."""
        self.adapter_pages = {
            name: cost.adapter_pages(shape.rank, shape.targets, page_tokens)
            for name, shape in trace.header.adapters.items()
        }
        self.largest_pages = self.largest_kv_pages = 0
        """Of any call, with its adapter and without it."""
        self.largest_adapter_pages = max(self.adapter_pages.values(), default=0)
        self._page_tokens = page_tokens
        self._longest: dict[str, Text] = {}
        last: defaultdict[str, deque[Call]] = defaultdict(lambda: deque(maxlen=NUM_NEXT))
        for call in trace.calls:
            self.kept_tokens[call.call_id] = self.expected_tokens[call.call_id] = 0
            for before in last[call.agent]:
                self._keep(before, call)
            last[call.agent].append(call)
            self._measure(call)

    @property
    def num_pages(self) -> int:
        """Of all adapters, and of the longest KV that each agent will want back; what several
        share counts once."""
        counted: set[Text] = set()
        num_tokens = 0
        for text in self._longest.values():
            for end in range(1, len(text) + 1):
                if text[:end] not in counted:
                    counted.add(text[:end])
                    num_tokens += text[end - 1].num_tokens
        return num_tokens // self._page_tokens + sum(self.adapter_pages.values())

    def _keep(self, before: Call, call: Call) -> None:
        shared: list[Passage] = []
        for mine, others in zip((*before.prompt, before.output), call.prompt, strict=False):
            if mine.hash_id != others.hash_id:
                break
            num_tokens = min(mine.num_tokens, others.num_tokens)
            shared.append(Passage(mine.hash_id, num_tokens))
            if mine.num_tokens != others.num_tokens:
                break
        num_tokens = sum(passage.num_tokens for passage in shared)
        self.kept_tokens[before.call_id] = max(num_tokens, self.kept_tokens[before.call_id])
        self.expected_tokens[call.call_id] = max(num_tokens, self.expected_tokens[call.call_id])
        longest = self._longest.get(before.agent, ())
        if num_tokens > sum(passage.num_tokens for passage in longest):
            self._longest[before.agent] = tuple(shared)

    def _measure(self, call: Call) -> None:
        num_tokens = call.num_prompt_tokens + call.output.num_tokens
        num_pages = -(-num_tokens // self._page_tokens)
        self.largest_kv_pages = max(self.largest_kv_pages, num_pages)
        num_pages += self.adapter_pages.get(call.adapter, 0) if call.adapter else 0
        self.largest_pages = max(self.largest_pages, num_pages)
