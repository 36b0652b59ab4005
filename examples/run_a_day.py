"""The stages of a day from a configuration that is built in Python: features and the base model of a small log."""

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

import divspa


def main(folder: Path) -> dict[str, float]:
    """The seconds of each stage; the tables are in the folder."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(5)
    user = rng.integers(0, 80, 1500)
    at = pd.Timestamp("2024-06-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 20 * 86_400, len(user)), "s")
    log = pd.DataFrame({"user": user, "item": user % 4 * 20 + rng.integers(0, 20, len(user)), "at": at})
    log.to_csv(folder / "clicks.csv", index=False)
    config = divspa.Config.model_validate(
        {
            "lake": str(folder / "lake"),
            "clicks": {
                "path": str(folder / "clicks.csv"),
                "format": "csv",
                "user": "user",
                "item": "item",
                "time": "at",
            },
            "training": {"epochs": 1},
        }
    )
    seconds = divspa.run(config, date(2024, 6, 20), last="train_base")
    print(f"{folder}/lake: {seconds}")
    return seconds


if __name__ == "__main__":
    main(Path("a_day"))
