"""The nearest peer on the same engine: an application of `ray.serve.llm`. Runs in its own environment, see `stacks.py`.

Everything is left as `ray.serve.llm` makes it, but for the engine, which is set up as ours, and for the ingress, which
takes no logical CPU: a replica takes two, and Ray would never place a third on a machine with two cores.
"""

from typing import Any

from ray.serve import Application
from ray.serve.llm import LLMConfig, build_openai_app


def app(args: dict[str, Any]) -> Application:
    """`args`: model, weights, engine (arguments of vLLM), environment, gpus."""
    bundle = {"CPU": 1, "GPU": args["gpus"]} if args["gpus"] else {"CPU": 1}
    config = LLMConfig(
        model_loading_config={"model_id": args["model"], "model_source": args["weights"]},
        deployment_config={"autoscaling_config": {"min_replicas": 1, "max_replicas": 1}},
        engine_kwargs=args["engine"],
        placement_group_config={"bundles": [bundle]},
        runtime_env={"env_vars": args["environment"]},
        accelerator_type=None,
    )
    return build_openai_app(
        {"llm_configs": [config], "ingress_deployment_config": {"ray_actor_options": {"num_cpus": 0}}}
    )
