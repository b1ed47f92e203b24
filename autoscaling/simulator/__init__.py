"""What a policy would have done to a trace: requests served or late, and GPU-hours.

from autoscaling.simulator.read import read
from autoscaling.simulator.run import Setup, simulate
from autoscaling.simulator.fleet import Start

trace = read("traces/servegen-mm-image", seed=0, scale=4)          # Trace: arrays of requests
result = simulate(trace, policy, Setup(start=Start(median_s=120)))  # policy: autoscaling.observation.Policy
result.gpu_hours, result.attainment, result.worst_hour, result.starts_per_hour, result.series.running
"""
