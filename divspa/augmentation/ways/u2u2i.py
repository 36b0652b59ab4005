"""u2u2i: what the nearest users clicked, scored again by s(u, v) (Section 3.2)."""

from pyspark.sql import functions as F

from divspa.augmentation.ways.way import Found, Known, Way, candidates_of, directions, ids_of
from divspa.retrieval import search


def find(known: Known) -> Found:
    """The clicks of each of a user's neighbours, one row a neighbour; weak ones of a weighted log count by chance."""
    offered = "counted" if "counted" in known.users.columns else "clicked"
    users = directions(known.users.select(ids_of("user_key"), "vector"), known)
    nearest, report = search(users, users, known.settings.top_k_users, exclude_self=True)
    # Spark's own number of partitions knows nothing of the users, and a sort of millions in each needs too much.
    edges = nearest.select("id", F.explode("ids").alias("neighbour")).repartition(known.tasks, "neighbour")
    theirs = known.users.select(F.col("user_key").alias("neighbour"), offered).repartition(known.tasks, "neighbour")
    return Found(candidates_of(edges.join(theirs, "neighbour"), offered, None), report)


U2U2I = Way(number=2, start="user", find=find)
