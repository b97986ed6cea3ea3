"""What a chat in the town can be about: each topic yields one turn or a few."""

from collections.abc import Callable, Iterator

from motet.demo.make.scene import Scene, Turn
from motet.demo.make.topics.abroad import abroad
from motet.demo.make.topics.courtesies import feelings, goodbye, greeting, joke, smalltalk, thanks
from motet.demo.make.topics.happenings import news, plans, story, told, trouble, untold
from motet.demo.make.topics.people import identity, neighbours, stranger, trades, visitor
from motet.demo.make.topics.places import shopping, town, way, weather

Topic = Callable[[Scene], Iterator[Turn]]

TOPICS: dict[Topic, int] = {
    greeting: 5,
    identity: 4,
    feelings: 4,
    weather: 3,
    town: 7,
    way: 4,
    shopping: 5,
    trades: 8,
    stranger: 9,
    neighbours: 3,
    trouble: 4,
    told: 18,
    untold: 4,
    news: 5,
    plans: 4,
    visitor: 6,
    story: 4,
    joke: 1,
    thanks: 2,
    goodbye: 2,
    smalltalk: 5,
    abroad: 6,
}
"""Topic -> how often it comes up."""
