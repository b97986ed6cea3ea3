"""Who follows whom: a Barabasi-Albert graph, in which few have many followers."""

import numpy as np


def followers_of(rng: np.random.Generator, num_agents: int, links: int) -> list[list[int]]:
    """Neighbours of each agent; every new one is linked to `links` others, by how many they have.

    `links` must be less than `num_agents`.
    """
    neighbours: list[list[int]] = [[] for _ in range(num_agents)]
    ends = list(range(links))
    """Every agent as often as it has links, so that a random end is one by popularity."""
    for agent in range(links, num_agents):
        chosen: dict[int, None] = {}
        while len(chosen) < links:
            chosen[ends[int(rng.integers(len(ends)))]] = None
        for other in chosen:
            neighbours[agent].append(other)
            neighbours[other].append(agent)
        ends += [*chosen, *[agent] * links]
    return neighbours
