"""u2i: the items nearest to the user, by s(u, v) (Section 3.2)."""

from pyspark.sql import functions as F

from divspa.augmentation.ways.way import Found, Known, Way, candidates_of, ids_of
from divspa.retrieval import search


def find(known: Known) -> Found:
    """The best of all items but the clicked, which are named beside them to be counted."""
    users = known.users.select(ids_of("user_key"), "vector", F.col("clicked").alias("exclude"))
    index = known.addable.select(ids_of("item_index"), "vector")
    found, report = search(users, index, known.settings.top_k)
    clicked = candidates_of(users, "exclude", None)
    return Found(candidates_of(found, "ids", "scores").unionAll(clicked), report)


U2I = Way(number=0, start="user", find=find)
