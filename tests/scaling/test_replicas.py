"""What Serve says of a model's replicas, second by second."""

from deployments.scaling.replicas import Replicas, Serving, Stages


def serving(*running: str, target: int | None = None) -> Serving:
    return Serving(running, len(running) if target is None else target, 0, 8)


def test_a_start_lasts_from_its_order_until_the_replica_runs():
    replicas = Replicas(start_s=120.0)
    replicas.see(serving(target=1), 10.0)
    assert replicas.pending_ages_s(40.0) == (30.0,)
    assert replicas.expected_s(40.0) == 90.0
    replicas.started("r1", Stages(weights_s=5.0, ready_s=25.0))
    replicas.see(serving("r1"), 50.0)
    (start,) = replicas.starts
    assert (start.total_s, start.environment_s) == (40.0, 10.0)
    assert (replicas.start_s, replicas.pending_ages_s(50.0)) == (40.0, ())


def test_what_ran_before_anybody_looked_is_no_start():
    replicas = Replicas(start_s=120.0)
    replicas.see(serving("r1", "r2"), 10.0)
    assert (list(replicas.starts), replicas.start_s, replicas.unpaid(11.0)) == ([], 120.0, False)


def test_the_start_up_time_is_that_of_nine_in_ten():
    replicas = Replicas(start_s=120.0)
    replicas.see(serving(), 0.0)
    for index in range(10):
        begun_s = 1000.0 * (index + 1)
        replicas.see(serving(target=1), begun_s)
        replicas.see(serving(f"r{index}"), begun_s + 10 * (index + 1))
        replicas.see(serving(), begun_s + 500)
    assert replicas.start_s == 90.0


def test_a_cancelled_start_waits_no_longer():
    replicas = Replicas(start_s=120.0)
    replicas.see(serving(target=2), 0.0)
    replicas.see(serving(target=1), 5.0)
    assert replicas.pending_ages_s(6.0) == (6.0,)


def test_a_replica_that_runs_no_longer_drains_until_its_actor_is_gone():
    replicas = Replicas(start_s=120.0)
    replicas.see(serving("r1", "r2"), 0.0)
    replicas.see(serving("r1"), 1.0)
    replicas.exist({"r1", "r2", "others"})
    assert replicas.draining == {"r2"}
    replicas.exist({"r1", "others"})
    assert replicas.draining == set()


def test_a_replica_has_not_paid_for_itself_before_it_ran_as_long_as_it_took_to_start():
    replicas = Replicas(start_s=120.0)
    replicas.see(serving(target=1), 0.0)
    replicas.see(serving("r1"), 60.0)
    assert replicas.unpaid(100.0)
    assert not replicas.unpaid(121.0)
