from hauberk.linux.view import ways


def test_every_directory_above_a_place_is_on_the_way_to_it_and_comes_after_those_above_itself() -> None:
    assert ways(("/home/jo/.local/state/hauberk", "/home/jo/venv")) == (
        "/home",
        "/home/jo",
        "/home/jo/.local",
        "/home/jo/.local/state",
    )


def test_there_is_no_way_to_what_lies_in_the_root() -> None:
    assert ways(("/hauberk",)) == ()
