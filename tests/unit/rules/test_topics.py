"""Many topic filters at once."""

from hypothesis import given
from hypothesis import strategies as st

from stepbridge.iot.rules.sql import TopicTrie

_levels = st.sampled_from(["a", "b", "", "$aws"])
_topics = st.lists(_levels, min_size=1, max_size=4).map("/".join)
_filters = st.tuples(st.lists(_levels | st.just("+"), max_size=4), st.sampled_from([["#"], ["a"], ["+"]])).map(
    lambda parts: "/".join(parts[0] + parts[1])
)


def _matches(topic_filter: str, topic: str) -> bool:
    """The definition, written another way."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    if wanted[-1] == "#":
        wanted, rest = wanted[:-1], levels[len(wanted) - 1 :]
        levels = levels[: len(wanted)]
        if not rest:
            return False
    return len(wanted) == len(levels) and all(one in ("+", level) for one, level in zip(wanted, levels, strict=True))


@given(st.lists(_filters, max_size=6), _topics)
def test_a_topic_finds_the_filters_that_match(filters: list[str], topic: str) -> None:
    trie: TopicTrie[int] = TopicTrie()
    for number, topic_filter in enumerate(filters):
        trie.add(topic_filter, number)
    expected = [number for number, topic_filter in enumerate(filters) if _matches(topic_filter, topic)]
    assert sorted(trie.find(topic)) == expected
