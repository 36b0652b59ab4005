from divspa.lake.traffic import Traffic


def test_a_part_within_another_one_and_a_part_read_twice_count_once() -> None:
    traffic = Traffic()
    for draw in (0, 1):
        traffic.saw_rows("pairs", {"ds": 1, "draw": draw}, 10)
    assert traffic.rows_read == {"pairs": 20}
    for _ in range(2):
        traffic.saw_rows("pairs", {"ds": 1}, 30)
    traffic.saw_rows("pairs", {"ds": 0}, 5)
    traffic.saw_rows("unknown", {"ds": 1}, None)
    assert traffic.rows_read == {"pairs": 35}


def test_the_newest_version_read_and_the_last_written_are_kept() -> None:
    traffic = Traffic()
    for version in (4, 2):
        traffic.saw_version("pairs", version)
    for version, as_of in ((5, "cutoff"), (6, "latest")):
        traffic.wrote("users", version, {"ds": 1, "as_of": as_of}, 7)
    assert traffic.versions_read == {"pairs": 4}
    assert traffic.versions_written == {"users": 6} and traffic.rows_written == {"users": 14}
