"""The file of the ledger's keys is made once, never replaced unasked, and rotated by adding."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from application.ledger.event_macs import StateMacs, event_macs
from application.ledger.keys import LedgerKeys, MacKeys
from infrastructure.secrets.ledger_key_file import (
    LedgerKeyError,
    load_ledger_keys,
    make_ledger_keys,
    rotate_ledger_keys,
)

STREAM = bytes(16)
STATE = b'{"a":1}'


def test_it_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "keys.json"
    made = make_ledger_keys(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert make_ledger_keys(path).secrets == made.secrets
    assert [each.name for each in path.parent.iterdir()] == ["keys.json"]
    other = make_ledger_keys(tmp_path / "other.json")
    assert other.current_id != made.current_id


def test_keys_are_never_shown(tmp_path: Path) -> None:
    keys = make_ledger_keys(tmp_path / "keys.json")
    (secret,) = keys.secrets.values()
    for shown in (repr(keys), repr(keys.for_purpose("events")), repr(event_macs(keys))):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not a file of ledger keys"),
        ("[]", "is not a file of ledger keys"),
        ('{"current": "a", "keys": {"a": "?"}}', "is not a file of ledger keys"),
        ('{"current": "a", "keys": {"a": "YQ=="}}', "is cut short"),
        ('{"current": "b", "keys": {}}', "lacks its current key"),
        ('{"current": "a b", "keys": {"a b": "' + "A" * 43 + '="}}', "lacks its current key"),
        ('{"current": [], "keys": {}}', "lacks its current key"),
    ],
)
def test_a_file_that_is_no_key_file_is_named_and_left_alone(
    tmp_path: Path, content: str, said: str
) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    for use in (load_ledger_keys, make_ledger_keys, rotate_ledger_keys):
        with pytest.raises(LedgerKeyError, match=said):
            use(path)
    assert path.read_text() == content


def test_a_missing_file_is_not_made_for_whoever_needs_what_was_in_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    for use in (load_ledger_keys, rotate_ledger_keys):
        with pytest.raises(LedgerKeyError, match="is missing"):
            use(path)
    assert not path.exists()


def test_after_a_rotation_both_keys_check_and_the_new_one_makes_macs(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    before = event_macs(make_ledger_keys(path))
    old = before.add(STREAM, 1, "t", STATE)
    new_id = rotate_ledger_keys(path)
    after = event_macs(load_ledger_keys(path))
    new = after.add(STREAM, 1, "t", STATE)

    assert f'"mac":"{new_id}.'.encode() in new
    assert new != old
    assert after.doubt(STREAM, 1, "t", old) is None
    assert path.stat().st_mode & 0o777 == 0o600
    # A process that has been running since before the rotation, and one that it started.
    assert before.doubt(STREAM, 1, "t", new) is None
    assert before.add(STREAM, 1, "t", STATE) == old, "it goes on writing under the old one"


def test_a_worker_of_another_process_finds_the_new_key_too(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    travelled: StateMacs = pickle.loads(pickle.dumps(event_macs(make_ledger_keys(path))))
    rotate_ledger_keys(path)
    new = event_macs(load_ledger_keys(path)).add(STREAM, 1, "t", STATE)
    assert travelled.doubt(STREAM, 1, "t", new) is None


def test_a_stranger_s_key_ids_neither_have_the_file_read_again_nor_hide_a_new_key(
    tmp_path: Path,
) -> None:
    path = tmp_path / "keys.json"
    keys = make_ledger_keys(path)
    running = event_macs(keys)
    assert keys.reread is not None
    read = keys.reread()
    for number in range(50):
        others = LedgerKeys(f"stolen{number}", {f"stolen{number}": bytes(32)})
        forged = event_macs(others).add(STREAM, 1, "t", STATE)
        assert "is not in the key file" in str(running.doubt(STREAM, 1, "t", forged))
    assert keys.reread() is read, "nothing was read again"

    rotate_ledger_keys(path)
    new = event_macs(load_ledger_keys(path)).add(STREAM, 1, "t", STATE)
    assert running.doubt(STREAM, 1, "t", new) is None


def test_a_rotation_keeps_the_file_s_place_owner_and_mode(tmp_path: Path) -> None:
    mounted = tmp_path / "secrets" / "keys.json"
    make_ledger_keys(mounted)
    mounted.chmod(0o640)
    path = tmp_path / "keys.json"
    path.symlink_to(mounted)

    new_id = rotate_ledger_keys(path)

    assert path.is_symlink()
    assert load_ledger_keys(mounted).current_id == new_id
    assert mounted.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in mounted.parent.iterdir()] == ["keys.json"]


def test_of_two_rotations_at_once_neither_loses_the_other_s_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    make_ledger_keys(path)
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: rotate_ledger_keys(path), range(16)))
    assert len(made) == 16
    assert made <= set(load_ledger_keys(path).secrets)


def test_macs_are_those_of_rfc_4231() -> None:
    """RFC 4231's test cases 1, 2 and 6; the last has a key longer than a block."""
    for key, message, mac in (
        (
            b"\x0b" * 20,
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            b"\xaa" * 131,
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ):
        keys = MacKeys("k", {"k": key})
        assert keys.mac(message).hex() == mac
        assert keys.proves("k", bytes.fromhex(mac), message)
        assert not keys.proves("k", bytes.fromhex(mac), message + b" ")


def test_a_mac_for_one_purpose_proves_nothing_for_another(tmp_path: Path) -> None:
    keys = make_ledger_keys(tmp_path / "keys.json")
    mac = keys.for_purpose("events").mac(b"m")
    assert not keys.for_purpose("snapshots").proves(keys.current_id, mac, b"m")


@pytest.mark.parametrize("field", ["stream", "version", "topic", "state"])
def test_a_mac_covers_every_part_of_what_is_stored(field: str) -> None:
    macs = event_macs(LedgerKeys("a", {"a": bytes(32)}))
    stored = macs.add(STREAM, 7, "account.opened", STATE)
    parts = {"stream": STREAM, "version": 7, "topic": "account.opened", "state": stored}
    assert macs.doubt(*parts.values()) is None  # type: ignore[arg-type]
    other = {
        "stream": bytes(15) + b"\1",
        "version": 8,
        # The boundary between topic and state is covered, too.
        "topic": 'account.opened{"a"',
        "state": stored.replace(b"1", b"2", 1),
    }
    parts[field] = other[field]
    if field == "topic":
        parts["state"] = stored.removeprefix(b'{"a"')
    doubt = macs.doubt(*parts.values())  # type: ignore[arg-type]
    assert doubt == "carries a MAC that is not its own"


def test_no_other_spelling_of_a_mac_is_a_mac() -> None:
    """The last character of base64 has two unused bits."""
    macs = event_macs(LedgerKeys("a", {"a": bytes(32)}))
    stored = macs.add(STREAM, 7, "t", STATE)
    right = stored[-4:-3]
    accepted = [
        letter
        for letter in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        if macs.doubt(STREAM, 7, "t", stored[:-4] + bytes([letter]) + stored[-3:]) is None
    ]
    assert bytes(accepted) == right


def test_keys_that_have_made_macs_go_to_other_processes() -> None:
    keys = LedgerKeys("k", {"k": b"s" * 32}).for_purpose("events")
    mac = keys.mac(b"m")

    assert pickle.loads(pickle.dumps(keys)).mac(b"m") == mac
