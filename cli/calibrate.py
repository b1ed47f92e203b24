"""`vlmfleet calibrate`: what an image really costs, measured on the hardware at hand."""

import asyncio
import os
import sys
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer

from calibration.block import block, with_price
from calibration.calibration import Calibration, Plan, calibrate, card_slo
from calibration.device import cpu_name, gpu_name, is_rented
from calibration.engine import engine
from calibration.load import Target, Unanswered
from calibration.measurement import Effort
from calibration.price import Rented, Terms
from calibration.search import Bounds, NoRate, Point
from calibration.workload import standard
from catalog import ModelCard, load_catalog
from catalog.catalog import CARDS
from cli.failed import Failed
from cli.options import AsJson
from cli.table import number, show_one, text
from deployments.engines.environment import EngineEnvironment, find_environment
from deployments.engines.s3_weights import WeightsError
from deployments.engines.server import EngineDied
from deployments.launch import CHECKOUT, state_folder
from loadtests.slo import parse_slo

COLUMNS = [
    text("model"),
    text("gpu", "measured on"),
    text("slo", "SLO"),
    number("images_per_s", "images/s within it"),
    number("goodput"),
    number("ttft_p95_ms", "TTFT p95, ms"),
    number("tpot_p95_ms", "TPOT p95, ms"),
    number("lag_p99_ms", "load generator late, p99 ms"),
    number("units", "units an image"),
    number("usd_per_1k_images", "$ per 1k images, measured"),
    number("usd_per_1k_images_before", "until now"),
    text("off_by", "that was"),
]


def calibrate_model(
    model: Annotated[str, typer.Argument(help="Any name of a card.")],
    url: Annotated[
        str | None, typer.Option(help="A server that runs. Default: the card's engine, started here.")
    ] = None,
    key: Annotated[str, typer.Option(envvar="VLMFLEET_KEY", help="An API key of that server.")] = "",
    replicas: Annotated[int, typer.Option(min=1, help="How many replicas answer there.")] = 1,
    gpu: Annotated[str | None, typer.Option(help="What they run on. Default: what is found here.")] = None,
    usd_per_hour: Annotated[str | None, typer.Option(help="Rent of one GPU. Default: the card's, for its GPU.")] = None,
    slo: Annotated[str | None, typer.Option(help="Such as ttft=2000,tpot=100. Default: the card's.")] = None,
    goodput: Annotated[float, typer.Option(min=0.5, max=1, help="Share of the images that has to keep it.")] = 0.99,
    seconds: Annotated[float, typer.Option(min=1, help="How long each rate is offered.")] = 30,
    start: Annotated[float, typer.Option(min=0.02, help="Images/s to begin with.")] = 1,
    utilisation: Annotated[str, typer.Option(help="Share of the time that replicas are busy.")] = "0.5",
    waste: Annotated[str, typer.Option(help="Share of the work that nobody pays.")] = "0.03",
    margin: Annotated[str, typer.Option(help="On top of the cost.")] = "0.30",
    write: Annotated[bool, typer.Option("--write", help="Put the price into the card's file.")] = False,
    cards: Annotated[Path, typer.Option(envvar="VLMFLEET_CARDS", help="The folder of the cards.")] = CARDS,
    as_json: AsJson = False,
) -> None:
    """Find the most images/s within the SLO on this hardware, and the price that follows from its rent."""
    try:
        card = load_catalog(cards).pick([model]).cards[0]
        file = _file(cards, card) if write else None
        environment = None if url else find_environment(_engines(), card.engine.name, card.engine.version)
        name = gpu or _device(environment)
        plan = Plan(
            card,
            request := standard(card),
            parse_slo(slo, goodput) if slo else card_slo(card, request.vision_tokens, goodput),
            Rented(name, _rate(card, name, usd_per_hour), replicas * max(1, card.accelerators.count)),
            Terms(_decimal("utilisation", utilisation), _decimal("waste", waste), _decimal("margin", margin)),
        )
        target = Target(url.rstrip("/"), key) if url else None
        found = asyncio.run(_measured(plan, target, environment, Effort(seconds, Bounds(start=start))))
    except (ValueError, WeightsError, EngineDied, NoRate, Unanswered) as error:
        raise Failed(str(error)) from error
    _show(found, as_json=as_json)
    if file:
        file.write_text(with_price(file.read_text(encoding="utf-8"), found.price), encoding="utf-8")
        print(f"written to {file}; it holds from the next start of the fleet", file=sys.stderr)


async def _measured(
    plan: Plan, target: Target | None, environment: EngineEnvironment | None, effort: Effort
) -> Calibration:
    date = datetime.now(UTC).date().isoformat()
    if target:
        return await calibrate(plan, target, effort, date, _tell)
    assert environment, "it was looked up because there is no target"
    print(f"starting {plan.card.engine.name} for {plan.card.served_name} ...", file=sys.stderr)
    async with engine(plan.card, environment, CHECKOUT, state_folder() / "weights") as started:
        return await calibrate(plan, started, effort, date, _tell)


def _tell(point: Point) -> None:
    """A line a step, while it goes on."""
    times = "nothing whole"
    if point.ttft_p95_ms is not None:
        times = f"p95 TTFT {point.ttft_p95_ms:.0f} ms, TPOT {point.tpot_p95_ms:.1f} ms"
    print(f"{point.rate:8.2f} images/s: {point.goodput:6.1%} within the SLO, {times}", file=sys.stderr)


def _show(found: Calibration, *, as_json: bool) -> None:
    answer = found.as_json()
    show_one(COLUMNS, answer if as_json else _rounded(answer), as_json=as_json)
    if not as_json:
        print(f"\n{block(found.price)}", end="")


def _rounded(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in answer.items()}


def _engines() -> Path:
    return CHECKOUT / os.environ.get("VLMFLEET_ENGINES", ".venvs")


def _file(cards: Path, card: ModelCard) -> Path:
    """Where `--write` writes: known before an hour is spent on measuring."""
    file = cards / f"{card.served_name}.yaml"
    if not file.exists():
        raise Failed(f"--write needs the card's file, {file}: name it after the served name")
    return file


def _device(environment: EngineEnvironment | None) -> str:
    """The hardware that the engine will use."""
    if environment is None:
        raise Failed("say with --gpu what the server at --url runs on: it is a part of the price's basis")
    name = gpu_name() if environment.build == "gpu" else cpu_name(len(os.sched_getaffinity(0)))
    if name is None:
        raise Failed("the engine's environment is the build for a GPU, and there is none here")
    return name


def _rate(card: ModelCard, name: str, given: str | None) -> Decimal:
    """The rent of one accelerator."""
    if given is not None:
        return _decimal("usd-per-hour", given)
    if not is_rented(card.accelerators, name):
        kind = card.accelerators.kind
        raise Failed(f"the card's rent is that of {kind}, and this is {name}: give its own with --usd-per-hour")
    return card.accelerators.usd_per_hour


def _decimal(option: str, given: str) -> Decimal:
    try:
        value = Decimal(given)
    except InvalidOperation as error:
        raise Failed(f"--{option} is {given!r}; give a decimal number, such as 0.5") from error
    if not value.is_finite() or value < 0:
        raise Failed(f"--{option} is {given!r}; give a decimal number that is not negative")
    return value
