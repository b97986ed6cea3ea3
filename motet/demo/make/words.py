"""The words of the town: who may live in it, what they do, where and when."""

from dataclasses import dataclass

TOWN = "Larkwell"


@dataclass(frozen=True, slots=True)
class Trade:
    """What somebody does for a living."""

    title: str
    place: str
    work: str
    """Goes behind 'I will'."""
    goods: tuple[str, str, str]
    """Go behind 'some'."""
    holder: str
    """Who does it in the town as everybody knows it."""


def _split(words: str, separator: str | None = None) -> tuple[str, ...]:
    """At spaces, or at the separator; line ends count as spaces."""
    return tuple(" ".join(word.split()) for word in words.split(separator))


TRADES = (
    Trade("baker", "the bakery", "bake the bread", ("bread", "rolls", "apple cake"), "Otto"),
    Trade("miller", "the mill", "grind the corn", ("flour", "oats", "barley"), "Marta"),
    Trade("fisher", "the harbour", "mend the nets", ("fish", "crabs", "mussels"), "Finn"),
    Trade("smith", "the smithy", "shoe the horses", ("nails", "horseshoes", "knives"), "Greta"),
    Trade("gardener", "the garden", "water the beds", ("apples", "roses", "cabbages"), "Lina"),
    Trade("innkeeper", "the inn", "cook the soup", ("soup", "cider", "stew"), "Hugo"),
    Trade("teacher", "the school", "read to the children", ("books", "chalk", "maps"), "Edda"),
    Trade("doctor", "the clinic", "look after the sick", ("herbs", "tea", "ointment"), "Jonas"),
    Trade("carpenter", "the workshop", "build a table", ("chairs", "shelves", "planks"), "Karl"),
    Trade("tailor", "the sewing room", "sew a coat", ("coats", "hats", "scarves"), "Selma"),
    Trade("shepherd", "the meadow", "watch the sheep", ("wool", "cheese", "milk"), "Tilda"),
    Trade("potter", "the pottery", "turn a bowl", ("jugs", "bowls", "plates"), "Ruben"),
    Trade("beekeeper", "the orchard", "look after the bees", ("honey", "candles", "wax"), "Berta"),
    Trade("postman", "the post office", "sort the letters", ("stamps", "parcels", "cards"), "Emil"),
    Trade("clockmaker", "the tower", "wind the clock", ("clocks", "watches", "bells"), "Wanda"),
)

OTHER_PLACES = (
    "the market",
    "the bridge",
    "the well",
    "the river",
    "the square",
    "the church",
    "the old oak",
    "the station",
    "the library",
    "the town hall",
)
PLACES = tuple(trade.place for trade in TRADES) + OTHER_PLACES
GOODS = tuple(goods for trade in TRADES for goods in trade.goods)

MORE_GOODS = _split(
    """
    loaves, eggs, shoes, boots, gloves, lamps, ropes, spices, oranges, onions, pears, nuts, beans,
    potatoes, sausages, pies, biscuits, soap, paper, ink, paint, blankets, pillows, baskets, brooms,
    cups, mirrors, toys, flowers, seeds, wood, coal, salt, sugar, coffee, wine, beer, plums, tools,
    stones, bricks, feathers, strings, flutes, drums, pots, pans, carpets, tulips, cherries
    """,
    ",",
)
"""What people trade that no shop of the town is known for."""

PAST = (
    "today",
    "this morning",
    "at noon",
    "this afternoon",
    "yesterday",
    "last night",
    "on Sunday",
)
FUTURE = (
    "this evening",
    "tomorrow",
    "tomorrow morning",
    "after work",
    "before supper",
    "on Monday",
)


@dataclass(frozen=True, slots=True)
class Weather:
    name: str
    clause: str
    advice: str


WEATHER = (
    Weather("sunny", "the sun is shining", "A good day to sit by the river"),
    Weather("rainy", "it is raining", "Take a warm coat with you"),
    Weather("windy", "a strong wind is blowing", "Hold on to your hat"),
    Weather("foggy", "there is fog over the river", "Mind your step on the bridge"),
    Weather("snowy", "it is snowing", "The children build a snowman at the square"),
    Weather("cloudy", "the sky is full of clouds", "It may rain before the evening"),
    Weather("stormy", "there is a storm", "Stay inside until it is over"),
    Weather("cold", "it is cold outside", "There is a warm fire at the inn"),
    Weather("hot", "it is hot today", "The water of the well is cool and clear"),
)

THINGS = ("hat", "key", "ring", "lantern", "basket", "pipe", "fiddle", "purse", "spoon", "letter")
ANIMALS = ("cat", "dog", "goat", "horse", "goose", "donkey", "pig", "hen")
ILLS = ("a cold", "a cough", "a fever", "a sore back", "a headache", "a bad tooth")
FEASTS = (
    "harvest feast",
    "spring dance",
    "lantern walk",
    "winter fair",
    "boat race",
    "cider feast",
    "concert",
    "wedding",
)
SUBJECTS = (
    "the harvest",
    "the price of flour",
    "old times",
    "the weather",
    "the feast",
    "the roof",
)

NAMES = _split(
    """
    Otto Marta Finn Greta Lina Hugo Edda Jonas Karl Selma Tilda Ruben Berta Emil Wanda Anna
    Bert Carl Dora Erik Frida Georg Hanna Ivan Julia Klaus Laura Max Nora Oskar Paula Rosa
    Simon Theo Ursula Viktor Wilma Adam Alice Amy Andrew Ben Betty Bob Charlie Chloe Daniel
    David Diana Eliza Ella Emma Eva Felix Fred George Grace Henry Helen Ingrid Isaac Jack
    Jacob James Jane John Joseph Kate Kevin Leo Lily Lucas Lucy Luke Maria Mark Martin Mary
    Mia Michael Mila Nina Noah Oliver Olga Oscar Pablo Peter Philip Rachel Robert Robin Sam
    Sara Sophie Stella Thomas Tim Tom Vera Walter William Yara Zoe Ali Aisha Chen Mei Ravi
    Priya Kofi Amara Diego Lucia Ines Marco Sven Astrid Bjorn Freya Yusuf Leila Omar Fatima
    Hiro Yuki Kenji Anya
    """
)
"""Of persons in texts for training."""

HELD_BACK_NAMES = _split(
    """
    Clara Bruno Edgar Flora Gustav Hilda Irma Kaspar Lotte Magnus Nadia Ole Petra Quentin
    Rita Silas Tamara Ulrich Vincent Xenia Arthur Beatrice Conrad Dalia Elias Franka Gideon
    Helga Igor Judith Konrad Linus Miriam Norbert Ophelia Pascal Regina Stefan Thea Valentin
    """
)
"""Of persons whom only the check knows: no text for training has them."""

ONSETS = _split("b br c ch d dr f fl g gr h j k kl l m n p pr r s sh st t tr v w y z")
VOWELS = _split("a e i o u a e i o ai ea ee ie oo")
ENDINGS = _split("n r l s x m d k t th nd rt ck lo ra mi ta na ri do")
"""Syllables of invented names: by them the model learns to repeat what it has never read."""

FOREIGN = _split(
    """
    France, Paris, Japan, Mars, London, Berlin, America, China, football, chess, physics,
    mathematics, Python, JavaScript, computers, algebra, history, politics, robots,
    dinosaurs, rockets, the moon, the ocean, the president, the king, the internet, black
    holes, quantum mechanics, the stock market, space travel, machine learning, television,
    elephants, volcanoes, pizza, the pyramids, Einstein, Shakespeare, cars, aeroplanes,
    Africa, Rome, New York, bitcoin, movies, video games, gravity, electricity, Napoleon,
    Germany, India, Spain, Italy
    """,
    ",",
)
"""What nobody in the town knows anything about."""
