from threading import Barrier, Thread
from time import thread_time

import pytest

from maskstream.errors import ConfigError
from maskstream.store.passwords import ScryptCost, checked_password, generated_password, hash_password, is_password, no_password
from maskstream.store.roles import Role, User
from maskstream.store.store import Store
from tests.slowness import LONGEST_S
from tests.store.made import CHEAP, PASSWORD


def test_a_hash_has_its_parameters_and_a_salt() -> None:
    first, second = hash_password(PASSWORD, CHEAP), hash_password(PASSWORD, CHEAP)
    assert first != second
    assert first.startswith("scrypt$16$1$1$")
    assert is_password(PASSWORD, first)
    assert not is_password(PASSWORD + " ", first)
    assert PASSWORD not in first
    assert ScryptCost() == ScryptCost(n=2**15, r=8, p=3)
    assert no_password(ScryptCost()).startswith("scrypt$32768$8$3$")


def test_two_ways_to_write_a_letter_are_the_same_password() -> None:
    assert is_password("caf\u00e9 noir 1", hash_password("cafe\u0301 noir 1", CHEAP))


def test_a_password_that_is_not_text_is_only_wrong() -> None:
    assert not is_password("\udce9" * 12, hash_password(PASSWORD, CHEAP))


@pytest.mark.parametrize("password", ["", "123456789", "x" * 1025, "Anna.Berger@ward"])
def test_passwords_that_are_not_allowed(password: str) -> None:
    with pytest.raises(ConfigError, match="the password"):
        checked_password("anna.berger@ward", password)


def test_generated_passwords_differ_and_are_allowed() -> None:
    passwords = {checked_password("anna", generated_password()) for _ in range(50)}
    assert len(passwords) == 50


def test_users_are_found_without_regard_to_case(store: Store) -> None:
    user = store.users.add("Jörg", Role.OPERATOR, ["door"], PASSWORD)
    assert user == User("Jörg", Role.OPERATOR, ("door",))
    assert store.users.verify("JÖRG", PASSWORD) == user
    assert store.users.verify("jo\u0308rg", PASSWORD) == user
    assert store.users.verify("Jörg", "wrong password") is None
    assert store.users.verify("nobody", PASSWORD) is None
    assert store.users.verify("nobody\udce9", PASSWORD) is None


def test_the_audit_gets_no_name_that_does_not_exist(store: Store) -> None:
    store.users.add("anna", Role.ADMIN, None, PASSWORD)
    assert store.users.audit_name("ANNA") == "anna"
    assert store.users.audit_name(PASSWORD) == "unknown user"


@pytest.mark.parametrize("name", ["", " ", "a b", "a/b", "../a", "a\n", "x" * 65, "a\udce9", "<b>", "a\0"])
def test_names_that_are_not_allowed(name: str, store: Store) -> None:
    with pytest.raises(ConfigError, match=r"is not allowed as a name; give 1 to 64 letters"):
        store.users.add(name, Role.ADMIN, None, PASSWORD)
    assert store.users.list() == ()


def test_a_user_is_changed_and_removed(store: Store) -> None:
    store.users.add("anna", Role.ADMIN, None, PASSWORD)
    store.users.add("bob", Role.VIEWER, (), PASSWORD)
    store.users.set_role("Anna", Role.VIEWER, ("hall",))
    assert store.users.list() == (User("anna", Role.VIEWER, ("hall",)), User("bob", Role.VIEWER, ()))
    store.users.set_password("anna", "another password")
    assert store.users.verify("anna", PASSWORD) is None
    assert store.users.verify("anna", "another password")
    store.users.remove("anna")
    assert store.users.verify("anna", "another password") is None
    for act in (
        store.users.remove,
        lambda name: store.users.set_password(name, PASSWORD),
        lambda name: store.users.set_role(name, Role.ADMIN, None),
    ):
        with pytest.raises(ConfigError, match="anna: the user does not exist; maskstream user list shows all users"):
            act("anna")


def test_a_user_sees_the_cameras_that_are_named() -> None:
    assert User("a", Role.VIEWER, None).may_see("door")
    assert User("a", Role.VIEWER, ("door",)).may_see("door")
    assert not User("a", Role.VIEWER, ("door",)).may_see("Door")
    assert not User("a", Role.ADMIN, ()).may_see("door")


def test_each_role_includes_the_ones_before_it() -> None:
    assert [role for role in Role if Role.OPERATOR.includes(role)] == [Role.DISPLAY, Role.VIEWER, Role.OPERATOR]
    assert Role.ADMIN.includes(Role.ADMIN)
    assert not Role.DISPLAY.includes(Role.VIEWER)


def test_a_wrong_name_takes_as_long_as_a_wrong_password(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Measured as CPU time of this thread, in turns; the fastest of three of each."""
    with Store(tmp_path_factory.mktemp("store"), cost=ScryptCost(n=2**13)) as store:
        store.users.add("anna", Role.ADMIN, None, PASSWORD)
        took_s: dict[str, list[float]] = {"anna": [], "nobody": []}
        for _ in range(3):
            for name, times in took_s.items():
                began_s = thread_time()
                assert store.users.verify(name, "wrong password") is None
                times.append(thread_time() - began_s)
    known_s, unknown_s = min(took_s["anna"]), min(took_s["nobody"])
    assert known_s > 0.01
    assert 0.7 < unknown_s / known_s < 1.4


def test_two_passwords_are_checked_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third waits: three threads never meet within the check, two do."""
    together = Barrier(2)
    running, most = [], []

    def observed(password: str, stored: str) -> bool:
        running.append(1)
        most.append(len(running))
        together.wait(LONGEST_S)
        running.pop()
        return is_password(password, stored)

    monkeypatch.setattr("maskstream.store.users.is_password", observed)
    threads = [Thread(target=store.users.verify, args=("nobody", PASSWORD)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 2
    assert len(most) == 6
