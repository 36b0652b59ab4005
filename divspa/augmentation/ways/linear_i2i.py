"""linear_i2i: the items that a click on the pair's item speaks for, by the weights of the linear model."""

from pyspark.sql import functions as F

from divspa.augmentation.ways.way import SPARE, Found, Known, Way, candidates_of, ids_of
from divspa.linear.recommend import Weights, recommend
from divspa.schemas import ITEM_NEIGHBOURS


def find(known: Known) -> Found:
    """What is recommended to who clicked one item alone."""
    weights = Weights.read(known.tables[ITEM_NEIGHBOURS.name], allowed=known.addable)
    items = known.items.select(ids_of("item_index"), F.array("item_index").alias("clicked"))
    return Found(candidates_of(recommend(items, weights, known.settings.top_k * SPARE), "ids", "scores"))


LINEAR_I2I = Way(number=4, start="item", find=find, reads=(ITEM_NEIGHBOURS,))
