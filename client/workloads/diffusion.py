"""Posts that spread over a network of followers: who reads one may share it, and others read it."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from motet.client.workloads.adapters import adapters_of
from motet.client.workloads.announced import Announced
from motet.client.workloads.draws import whole_lognormal
from motet.client.workloads.network import followers_of
from motet.client.workloads.texts import Texts
from motet.client.workloads.trace import Call, Passage, Push, Trace
from motet.client.workloads.workload import Workload, check_range, trace_of

MIN_DELAY, MAX_DELAY = 1, 3
"""Steps until a follower reads what was shared."""
OUTPUT_SIGMA = 0.4
POSTS_READ = 4
"""The newest ones that an agent has not read, in one call."""


@dataclass(frozen=True, slots=True)
class Diffusion(Workload):
    """Few agents call in a step. Who will is known for those that something new has reached, and
    guessed by hops for those around them; of all others nothing is known."""

    agents: int = 1000
    steps: int = 100
    activity: float = 0.05
    """Largest share of agents that call in a step; who has to wait calls in the next one."""
    links: int = 3
    """That a new agent brings to the Barabasi-Albert graph."""
    share: float = 0.08
    """Chance that who reads a post shares it."""
    posts_per_step: float = 0.5
    """By anybody, from nowhere; on average."""
    horizon: int = 2
    """Hops from who will call for certain, until which distances are guessed."""
    system_tokens: int = 256
    """Shared by all."""
    persona_tokens: int = 512
    post_tokens: int = 64
    """Of what is read and of what is written, on average."""

    def __post_init__(self) -> None:
        check_range("links", self.links, 1)
        check_range("agents", self.agents, self.links + 1)
        check_range("steps", self.steps, 1)
        check_range("activity", self.activity, 0.001, 1)
        check_range("share", self.share, 0, 1)
        check_range("posts_per_step", self.posts_per_step, 0)
        check_range("horizon", self.horizon, 0)
        check_range("system_tokens", self.system_tokens, 1)
        check_range("persona_tokens", self.persona_tokens, 1)
        check_range("post_tokens", self.post_tokens, 1)

    def generate(self) -> Trace:
        world, announced = _World(self), Announced()
        calls: list[Call] = []
        pushes: list[Push | None] = []
        for step in range(self.steps):
            world.post(step)
            distances = {f"agent-{agent}": far for agent, far in world.distances(step).items()}
            pushes.append(announced.push(step, distances))
            for call in world.calls(step):
                announced.by_hint(call.agent, step, None)
                calls.append(call)
        adapters = adapters_of(f"lora-{index}" for index in range(self.agents))
        return trace_of(self, "diffusion", calls, adapters, pushes=pushes, steps=self.steps)


class _World:
    def __init__(self, parameters: Diffusion) -> None:
        self._parameters = parameters
        self._rng = np.random.default_rng(parameters.seed)
        self._followers = followers_of(self._rng, parameters.agents, parameters.links)
        self._texts, self._numbers = Texts(), count()
        self._system = self._texts.new(parameters.system_tokens)
        self._personas = [
            self._texts.new(parameters.persona_tokens) for _ in range(parameters.agents)
        ]
        self._due: dict[int, int] = {}
        """Step in which each agent will read."""
        self._feeds: defaultdict[int, list[int]] = defaultdict(list)
        """Posts that have come to each agent, and are not read."""
        self._posts: list[Passage] = []
        self._reached: list[set[int]] = []
        """Of each post."""

    def post(self, step: int) -> None:
        """What comes from nowhere; its authors have not written it in a call."""
        for _ in range(int(self._rng.poisson(self._parameters.posts_per_step))):
            author = int(self._rng.integers(self._parameters.agents))
            [tokens] = whole_lognormal(self._rng, self._parameters.post_tokens, OUTPUT_SIGMA, 1)
            self._posts.append(self._texts.new(tokens))
            self._reached.append({author})
            self._share(author, len(self._posts) - 1, step - 1)

    def _share(self, agent: int, post: int, step: int) -> None:
        reached = self._reached[post]
        followers = [other for other in self._followers[agent] if other not in reached]
        delays = self._rng.integers(MIN_DELAY, MAX_DELAY + 1, len(followers)).tolist()
        for follower, delay in zip(followers, delays, strict=True):
            reached.add(follower)
            self._feeds[follower].append(post)
            self._due[follower] = min(self._due.get(follower, step + delay), step + delay)

    def distances(self, step: int) -> dict[int, int]:
        """Steps for those who will read, a step more for each hop from there, as if all shared."""
        distances = {agent: max(0, due - step) for agent, due in self._due.items()}
        posts = {agent: set(feed) for agent, feed in self._feeds.items()}
        for _ in range(self._parameters.horizon):
            coming: defaultdict[int, set[int]] = defaultdict(set)
            for agent, carried in sorted(posts.items()):
                for follower in self._followers[agent]:
                    new = {post for post in carried if follower not in self._reached[post]}
                    if new:
                        coming[follower] |= new
                        hops = distances[agent] + MIN_DELAY
                        distances[follower] = min(distances.get(follower, hops), hops)
            posts = coming
        return distances

    def calls(self, step: int) -> Iterator[Call]:
        most = max(1, int(self._parameters.activity * self._parameters.agents))
        due = sorted((due, agent) for agent, due in self._due.items() if due <= step)
        for _, agent in due[:most]:
            yield self._read(agent, step)
        for _, agent in due[most:]:
            self._due[agent] = step + 1

    def _read(self, agent: int, step: int) -> Call:
        del self._due[agent]
        posts = self._feeds.pop(agent)
        [num_output] = whole_lognormal(self._rng, self._parameters.post_tokens, OUTPUT_SIGMA, 1)
        call = Call(
            call_id=next(self._numbers),
            session=f"agent-{agent}",
            agent=f"agent-{agent}",
            step=step,
            prompt=(
                self._system,
                self._personas[agent],
                *(self._posts[post] for post in posts[-POSTS_READ:]),
            ),
            output=self._texts.new(num_output),
            adapter=f"lora-{agent}",
        )
        for post in posts[-POSTS_READ:]:
            if self._rng.random() < self._parameters.share:
                self._share(agent, post, step)
        return call
