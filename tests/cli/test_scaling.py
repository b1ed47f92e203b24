from tests.cli.conftest import Fleet, Vlmfleet


def test_where_nothing_decides_the_command_says_what_to_deploy(fleet: Fleet, vlmfleet: Vlmfleet):
    ended = vlmfleet("scaling", "explain", "demo-qwen2-vl")
    assert ended.status == 1
    assert "Deploy the application 'scaling'" in ended.err
