"""Secrets between processes of ours."""

from deployments.secret import new_secret


def test_a_secret_is_never_taken_for_an_option():
    """A dash would begin one: of secrets in base64, one start in 64 fails by it."""
    assert all(new_secret().isalnum() for _ in range(300))


def test_no_two_are_alike():
    assert len({new_secret() for _ in range(300)}) == 300
