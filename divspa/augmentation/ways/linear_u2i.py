"""linear_u2i: the items that the linear model recommends to the user, by the sum over what the user clicked."""

from divspa.augmentation.ways.way import Found, Known, Way, candidates_of, ids_of
from divspa.linear.recommend import Weights, recommend
from divspa.schemas import ITEM_NEIGHBOURS


def find(known: Known) -> Found:
    """The best of all items but the clicked; those that outrank them stay, to be counted."""
    weights = Weights.read(known.tables[ITEM_NEIGHBOURS.name], allowed=known.addable)
    users = known.users.select(ids_of("user_key"), "clicked")
    return Found(candidates_of(recommend(users, weights, known.settings.top_k, count=True), "ids", "scores"))


LINEAR_U2I = Way(number=3, start="user", find=find, reads=(ITEM_NEIGHBOURS,))
