"""What is known of the engine's generations from outside."""

from motet.engine import Adapter, AdapterMirror, AdapterNews, Standing

OLD, NEW = Adapter("a", "old", 1, 8, 2), Adapter("a", "new", 2, 8, 2)
CURRENT, LEAVING, GONE = Standing.CURRENT, Standing.LEAVING, Standing.GONE


def test_what_is_replaced_leaves_in_whichever_order_it_is_told() -> None:
    news = [AdapterNews(NEW, CURRENT), AdapterNews(OLD, LEAVING)]
    for order in (news, news[::-1]):
        mirror = AdapterMirror([OLD])
        mirror.update(order)
        assert mirror.current == {"a": NEW}
        assert mirror.leaving == {("a", 1): OLD}
        mirror.update([AdapterNews(OLD, GONE)])
        assert mirror.current == {"a": NEW}
        assert not mirror.leaving


def test_content_that_becomes_known_is_news_of_the_same_generation() -> None:
    unread = Adapter("a", None, 1, 0, 0)
    mirror = AdapterMirror([unread])
    before = mirror.version
    mirror.update([AdapterNews(OLD, CURRENT)])
    assert mirror.current["a"] is OLD
    assert mirror.version > before
    mirror.update([])
    assert mirror.version == before + 1


def test_a_generation_is_there_until_it_is_gone() -> None:
    mirror = AdapterMirror([OLD])
    mirror.update([AdapterNews(OLD, LEAVING)])
    assert mirror.has("a", 1) and not mirror.has("a", 2) and "a" not in mirror.current
    mirror.update([AdapterNews(OLD, GONE)])
    assert not mirror.has("a", 1)
