"""Bars as SVG, read back as XML."""

from xml.etree import ElementTree

from motet.bench.plot import AXIS_WIDTH, LABEL_WIDTH, Bar, bars_svg

NAMESPACE = "{http://www.w3.org/2000/svg}"


def drawn(*bars: Bar) -> list[tuple[float, float]]:
    """Top and width of each bar."""
    root = ElementTree.fromstring(bars_svg("title", bars, most=2.0, footer=["a note"]))
    rects = [rect.attrib for rect in root.iter(f"{NAMESPACE}rect")]
    num_others = 1 + len({bar.series for bar in bars})  # background and keys
    found = [(float(rect["y"]), float(rect["width"])) for rect in rects[num_others:]]
    assert all(float(rect["x"]) == LABEL_WIDTH for rect in rects[num_others:])
    return found


def words(*bars: Bar) -> list[str]:
    root = ElementTree.fromstring(bars_svg("title", bars, most=2.0, footer=["a note"]))
    return [text.text or "" for text in root.iter(f"{NAMESPACE}text")]


def test_bars_are_as_long_as_their_values_up_to_the_end_of_the_axis() -> None:
    bars = [Bar(f"{value}", "s", value, "") for value in (0.0, 0.5, 1.0, 2.0, 9.0)]
    shares = [width / AXIS_WIDTH for _, width in drawn(*bars)]
    assert shares == [0.0, 0.25, 0.5, 1.0, 1.0]


def test_bars_of_one_label_stand_together_and_say_it_once() -> None:
    bars = [Bar("one", "a", 1, "x"), Bar("one", "b", 1, "y"), Bar("two", "a", 1, "z")]
    (first, _), (second, _), (third, _) = drawn(*bars)
    assert second - first < third - second
    assert words(*bars).count("one") == 1


def test_every_word_is_there_as_it_was_given() -> None:
    bars = [Bar("rows < 8 & more", "cpu", 0.5, "0.50")]
    assert {"title", "rows < 8 & more", "cpu", "0.50", "a note"} <= set(words(*bars))
