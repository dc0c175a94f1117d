"""Under which names a directory can be reached."""

import pytest

from hauberk.linux import mounts
from hauberk.linux.mounts import Mount

ROOT = Mount("8:1", "/", "/", "ext4")
TMP = Mount("0:30", "/", "/tmp", "tmpfs")
AGAIN = Mount("8:1", "/", "/mnt/disk", "ext4")
HOME = Mount("8:1", "/home", "/srv/homes", "ext4")
DEEPER = Mount("8:1", "/var/lib/hauberk/default/ca", "/keys", "ext4")


@pytest.mark.parametrize(
    ("path", "table", "names"),
    [
        ("/var/lib/x", (ROOT, TMP), {"/var/lib/x"}),
        ("/tmp/x", (ROOT, TMP, AGAIN), {"/tmp/x"}),
        ("/var/lib/x", (ROOT, TMP, AGAIN, HOME), {"/var/lib/x", "/mnt/disk/var/lib/x"}),
        ("/home/jo/x", (ROOT, AGAIN, HOME), {"/home/jo/x", "/mnt/disk/home/jo/x", "/srv/homes/jo/x"}),
        ("/srv/homes/jo", (ROOT, HOME), {"/srv/homes/jo", "/home/jo"}),
        ("/", (ROOT, AGAIN), {"/", "/mnt/disk"}),
    ],
)
def test_a_directory_has_a_name_for_every_mount_that_shows_it(path: str, table: tuple[Mount, ...], names: set[str]) -> None:
    assert set(mounts.aliases(path, table)) == names


def test_the_mount_on_top_decides_where_a_path_is() -> None:
    covered = Mount("0:31", "/", "/tmp", "tmpfs")
    elsewhere = Mount("0:31", "/", "/mnt/tmp", "tmpfs")
    assert set(mounts.aliases("/tmp/x", (ROOT, TMP, covered, elsewhere))) == {"/tmp/x", "/mnt/tmp/x"}


def test_a_part_of_a_directory_shown_elsewhere_is_no_name_of_the_whole() -> None:
    assert mounts.aliases("/var/lib/hauberk", (ROOT, DEEPER)) == ("/var/lib/hauberk",)


def test_the_mounts_of_this_process_can_be_read() -> None:
    assert "/" in {mount.point for mount in mounts.mounts()}
