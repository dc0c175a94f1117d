"""Maps of user ids."""

from hauberk.linux.users import Extent, identity, own_map


def test_a_child_in_which_every_id_means_the_same_has_the_parents_ranges() -> None:
    parent = (Extent(0, 1000, 1), Extent(1, 100000, 65536))
    assert identity(parent) == (Extent(0, 0, 1), Extent(1, 1, 65536))


def test_an_extent_is_written_as_the_kernel_reads_it() -> None:
    assert str(Extent(1000, 0, 1)) == "1000 0 1"


def test_this_process_has_a_map() -> None:
    assert own_map("uid")
