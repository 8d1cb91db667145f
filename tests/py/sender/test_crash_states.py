"""The disk after a power cut at any moment of a refresh."""

from __future__ import annotations

from reliability.power_cut import Operation, cut_power, disks_after_cut


def test_every_disk_after_a_power_cut_holds_the_old_token_or_the_new() -> None:
    report = cut_power()
    assert report.distinct > 100
    assert report.violations == []


def test_rename_without_fsync_may_leave_an_empty_or_torn_file() -> None:
    """The model itself: what it must be able to find."""
    operations = [
        Operation("create", 1, name="new"),
        Operation("write", 1, content=b"ab"),
        Operation("rename", 1, name="new", target="file"),
    ]
    contents = {disk["file"] for disk in disks_after_cut({"file": b"old"}, operations)}
    assert contents == {b"old", b"", b"a", b"ab"}


def test_synced_file_is_whole_or_not_yet_renamed() -> None:
    operations = [
        Operation("create", 1, name="new"),
        Operation("write", 1, content=b"ab"),
        Operation("sync", 1),
        Operation("rename", 1, name="new", target="file"),
    ]
    contents = {disk["file"] for disk in disks_after_cut({"file": b"old"}, operations)}
    assert contents == {b"old", b"ab"}
    synced = [*operations, Operation("sync directory")]
    assert {disk["file"] for disk in disks_after_cut({"file": b"old"}, synced)} == {b"ab"}
