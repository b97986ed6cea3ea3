"""Users of many adapters without sessions, as S-LoRA (arXiv 2311.03285) makes its requests."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from motet.client.workloads.adapters import adapters_of
from motet.client.workloads.texts import Texts
from motet.client.workloads.trace import Call, Trace
from motet.client.workloads.workload import Workload, check_range, trace_of


@dataclass(frozen=True, slots=True)
class ManyLora(Workload):
    """Arrivals are a Gamma process; the popularity of adapters follows a power law."""

    agents: int = 200
    """Adapters, each with one user; S-LoRA has up to 2,000."""
    alpha: float = 1.0
    """The k-th adapter gets a share of requests in proportion to k ** -alpha."""
    rate: float = 2.0
    """Requests a second."""
    cv: float = 1.0
    """Standard deviation of the time between two arrivals over its mean; 1: a Poisson process."""
    duration_s: float = 300.0
    min_input: int = 8
    max_input: int = 512
    min_output: int = 8
    max_output: int = 512

    def __post_init__(self) -> None:
        check_range("agents", self.agents, 1)
        check_range("alpha", self.alpha, 0)
        check_range("rate", self.rate, 0.001)
        check_range("cv", self.cv, 0.01)
        check_range("duration_s", self.duration_s, 1)
        check_range("min_input", self.min_input, 1, self.max_input)
        check_range("min_output", self.min_output, 1, self.max_output)

    def generate(self) -> Trace:
        adapters = adapters_of(f"lora-{index}" for index in range(self.agents))
        return trace_of(self, "manylora", self._calls(), adapters)

    def _calls(self) -> Iterator[Call]:
        rng, texts = np.random.default_rng(self.seed), Texts()
        arrivals = self._arrivals(rng)
        size = len(arrivals)
        weights = np.arange(1.0, self.agents + 1) ** -self.alpha
        adapters = rng.choice(self.agents, size, p=weights / weights.sum()).tolist()
        inputs = rng.integers(self.min_input, self.max_input + 1, size).tolist()
        outputs = rng.integers(self.min_output, self.max_output + 1, size).tolist()
        for number, arrival_s in enumerate(arrivals):
            adapter = adapters[number]
            yield Call(
                call_id=number,
                session=f"request-{number}",
                agent=f"user-{adapter}",
                arrival_s=arrival_s,
                prompt=(texts.new(inputs[number]),),
                output=texts.new(outputs[number]),
                adapter=f"lora-{adapter}",
            )

    def _arrivals(self, rng: np.random.Generator) -> list[float]:
        shape, scale = self.cv**-2, self.cv**2 / self.rate
        arrivals = np.zeros(0)
        while not len(arrivals) or arrivals[-1] < self.duration_s:
            gaps = rng.gamma(shape, scale, int(self.rate * self.duration_s) + 16)
            start = arrivals[-1] if len(arrivals) else 0.0
            arrivals = np.append(arrivals, start + np.cumsum(gaps))
        return [round(float(time_s), 6) for time_s in arrivals[arrivals < self.duration_s]]
