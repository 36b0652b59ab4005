"""`comparisons`: what the difference of two models is worth."""

from divspa.schemas.contract import DS, MODEL, Column, Table

COMPARISONS = Table(
    name="comparisons",
    grain="One row a model, the model it is compared with, and metric, over the same test events",
    written_by="evaluate",
    read_for="whether one model is better than another, beyond chance",
    columns=(
        DS,
        MODEL,
        Column("against", "STRING", "The model that it is compared with"),
        Column("metric", "STRING", "hr@k or ndcg@k"),
        Column("value", "DOUBLE", "The model's figure"),
        Column("against_value", "DOUBLE", "The other model's figure"),
        Column("relative", "DOUBLE", "Relative gain: value over against_value, less 1"),
        Column("low", "DOUBLE", "Lower bound of the relative gain, 95 %, bootstrap over users"),
        Column("high", "DOUBLE", "Upper bound of the relative gain"),
        Column("p_t", "DOUBLE", "Paired t-test over users"),
        Column("p_permutation", "DOUBLE", "Sign-flip permutation test over users"),
        Column("p_holm", "DOUBLE", "p_t, corrected for all tests of the day (Holm)"),
        Column("verdict", "STRING", "better, worse or no difference shown, at p_holm < 0.05"),
    ),
    key=("model", "against", "metric"),
)
