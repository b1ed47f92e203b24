"""The command `vlmfleet`: where each of its commands is."""

import sys

from typer.core import TyperGroup

from accounting.store import StoreError
from cli.failed import Failed
from cli.listed import Listed
from cli.table import visible
from deployments.launch import LaunchError

LEDGER = TyperGroup(
    name="ledger",
    no_args_is_help=True,
    help="The ledger itself: invariants, import, crash harness.",
    commands=[
        Listed("verify", "cli.ledger:verify", "Recompute every invariant of a ledger, live or a copy."),
        Listed("import", "cli.export:import_", "Rebuild every balance from an export."),
        Listed("torture", "cli.torture:app", "Kill a fleet of its own at every failpoint, and audit its ledger."),
    ],
)
K8S = TyperGroup(
    name="k8s",
    no_args_is_help=True,
    help="Manifests for Kubernetes, from the cards.",
    commands=[
        Listed(
            "render", "cli.render:render_overlays", "Write what overlays need, from their fleet.yaml and the cards."
        ),
        Listed("changes", "cli.changes:show_changes", "What applying a new render does to a running cluster."),
    ],
)
COMMANDS = [
    Listed("run", "cli.fleet:run", "Start everything on this machine; Ctrl-C stops all of it."),
    Listed("up", "cli.fleet:up", "The same in the background; returns when it answers."),
    Listed("down", "cli.fleet:down", "Stop it."),
    Listed("status", "cli.status:status", "What runs of this machine's fleet, and of the rest why not."),
    Listed("doctor", "cli.doctor:doctor", "Check a running fleet, and say what to do. Status 1 for a fault."),
    Listed("keys", "cli.keys:app", "API keys: who may use the fleet, and who may manage it."),
    Listed("budgets", "cli.budgets:app", "What a key, a project or an organisation may spend in a period."),
    Listed("credit", "cli.credit:app", "Credit: given, given back, and what is left."),
    Listed("usage", "cli.reports:usage", "What was used and charged."),
    Listed("cost", "cli.reports:cost", "What each model's accelerators cost in a day, and earned."),
    Listed("audit", "cli.reports:audit", "Who changed what, the newest first."),
    Listed("price", "cli.price:price", "What a request with one image and a short answer costs."),
    Listed("calibrate", "cli.calibrate:calibrate_model", "Measure the most images/s within the SLO, and their price."),
    Listed("simulate", "cli.simulate:simulate", "Replay a trace against a fleet that a policy scales."),
    Listed("scaling", "cli.scaling:app", "How many replicas each model has, and why."),
    Listed("export", "cli.export:export", "Write a ledger's days as CSV and Parquet, with checksums."),
    Listed("torture", "cli.deaths:app", "Kill everything in a fleet of its own, and see it come back."),
    LEDGER,
    K8S,
]
app = TyperGroup(
    name="vlmfleet",
    no_args_is_help=True,
    help="A self-hosted serving cluster for vision-language models, with a price on every answer.",
    commands=COMMANDS,
)


def main() -> None:
    """Run the command line; never returns. Exit status 1: it failed, and standard error says why in one line."""
    try:
        app(prog_name="vlmfleet")
    except (Failed, LaunchError, StoreError) as error:
        print(f"vlmfleet: {visible(str(error))}", file=sys.stderr)
        sys.exit(1)
