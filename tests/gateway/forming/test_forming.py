from deployments.gateway.forming import Demand, Forming
from tests.gateway.house import CARD


async def test_each_model_has_a_queue_of_its_own():
    forming = Forming(lambda _: 1)
    other = CARD.model_copy(update={"id": "other/model"})
    async with forming.of(CARD).turn(Demand("a", 100), 1.0):
        assert {name: load.running_tokens for name, load in forming.loads().items()} == {CARD.id: 100}
        assert forming.of(other).load().running_tokens == 0
