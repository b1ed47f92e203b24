from torture.plan import CLIENTS, DATABASE, POINTS, Habit, Role, plan_of


def test_the_same_seed_is_the_same_plan():
    assert plan_of(7, POINTS) == plan_of(7, POINTS)


def test_consecutive_seeds_go_through_every_failpoint():
    points = (*POINTS, DATABASE)
    assert [plan_of(seed, points).deaths[0].point for seed in range(len(points))] == list(points)


def test_two_deaths_of_a_seed_are_of_different_roles():
    for seed in range(60):
        roles = [death.point.role for death in plan_of(seed, POINTS).deaths]
        assert len(roles) == len(set(roles))


def test_before_the_sweeper_dies_a_gateway_leaves_it_something_to_sweep():
    seed = next(number for number, point in enumerate(POINTS) if point.role is Role.SWEEPER)
    assert plan_of(seed, POINTS).death_of(Role.GATEWAY)


def test_where_a_writer_hangs_a_gateway_dies_that_waits_for_a_charge():
    for number, point in enumerate(POINTS):
        if point.hang_s:
            assert plan_of(number, POINTS).death_of(Role.GATEWAY).startswith("post.acked:")


def test_every_habit_is_among_the_clients():
    clients = plan_of(1, POINTS).clients
    assert len(clients) == CLIENTS
    assert {client.habit for client in clients} == set(Habit)
