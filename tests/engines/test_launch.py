"""Where an engine server runs, and its command line."""

from deployments.engines.launch import Place, arguments

HOST = "127.0.0.1"


def test_each_place_has_a_secret_of_its_own():
    assert Place.anew(HOST, "weights").token != Place.anew(HOST, "weights").token


def test_true_is_a_flag_alone_and_false_is_none():
    assert arguments({"port": 1, "quiet": True, "loud": False}) == ["--port", "1", "--quiet"]
