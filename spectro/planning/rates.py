"""Rates of a device: flops and bytes per second, assumed or measured, from a file.

A file says where its numbers come from: `measured: true` with date, versions and commit, or
`measured: false` with the assumption. Rates are achieved ones, elementwise work included in the
time and not in the flops, by precision and hidden size; the entry nearest in hidden size counts.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from spectro.models.config import ModelConfig
from spectro.storage.locations import local_path

RATES_FOLDER = Path(__file__).parents[2] / "benchmarks" / "rates"
TERA = 1e12


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Flops per second at one width and precision."""

    precision: str
    """Type of the products: `float32`, `bfloat16`, `float64`."""
    scoring_tflops: float
    """10¹² flops per second of forward passes; > 0."""
    stepping_tflops: float
    """10¹² flops per second of steps; > 0."""
    hidden_size: int | None = None
    """D that it was measured at; None: said to hold for all."""

    def __post_init__(self) -> None:
        for name in ("scoring_tflops", "stepping_tflops"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and value > 0 and math.isfinite(value)):
                raise ValueError(f"rates: {name} must be a number > 0, found {value!r}")


@dataclass(frozen=True, kw_only=True)
class Rates:
    """One device."""

    device: str
    """Its name."""
    measured: bool
    """Whether the numbers were measured on it."""
    rates: tuple[Rate, ...]
    """By precision and hidden size; at least one."""
    read_bytes_per_second: float
    """From the run's storage, by one worker."""
    written_bytes_per_second: float
    """To it."""
    memory_bytes: float | None = None
    """Of the device; None if it is that of the host."""
    host_memory_bytes: float | None = None
    """Of the machine, per device."""
    date: str = ""
    """When it was measured, or assumed."""
    assumption: str = ""
    """Where numbers come from that were not measured; needed for those."""
    versions: dict[str, str] | None = None
    """Versions that decide speed."""
    commit: str | None = None
    """Of this project."""

    def __post_init__(self) -> None:
        if not self.rates:
            raise ValueError("rates: the file has no entry under 'rates'")
        if not self.measured and not self.assumption:
            raise ValueError("rates: 'measured: false' needs an 'assumption' that says why")
        for name in ("read_bytes_per_second", "written_bytes_per_second"):
            if not getattr(self, name) > 0:
                raise ValueError(f"rates: storage.{name} must be > 0, found {getattr(self, name)}")

    def at(self, hidden_size: int, precision: str) -> Rate:
        """The entry of a precision that is nearest in hidden size, by ratio.

        Raises ValueError if the precision is not there.
        """
        fitting = [rate for rate in self.rates if rate.precision == precision]
        if not fitting:
            known = ", ".join(sorted({rate.precision for rate in self.rates}))
            raise ValueError(f"rates of {self.device} have no {precision}: they have {known}")
        return min(fitting, key=lambda rate: _distance(rate.hidden_size, hidden_size))

    def compute_seconds(self, scoring_flops: int, stepping_flops: int, rate: Rate) -> float:
        """Time of counted work at a rate."""
        return (
            scoring_flops / (rate.scoring_tflops * TERA)
            + stepping_flops / (rate.stepping_tflops * TERA)
        )  # fmt: skip

    def storage_seconds(self, read_bytes: int, written_bytes: int) -> float:
        """Time to move bytes; taken not to overlap with arithmetic."""
        return (
            read_bytes / self.read_bytes_per_second + written_bytes / self.written_bytes_per_second
        )

    @property
    def provenance(self) -> str:
        """Where the numbers come from, on one line."""
        if not self.measured:
            return f"ASSUMED, NOT MEASURED ({self.device}): {self.assumption}"
        return f"measured on {self.device}, {self.date}"


def file_of_rates(name: str) -> Path:
    """A file of rates: one that is shipped, or a path."""
    shipped = RATES_FOLDER / f"{name}.yaml"
    return shipped if shipped.is_file() else Path(local_path(name, "plan.rates"))


def product_type(model: ModelConfig) -> str:
    """Type of the products of a run's model, as rates name it."""
    return model.dtype if model.dtype == "float64" else str(model.precision)


def load_rates(path: Path) -> Rates:
    """Read a file of `benchmarks/rates/`.

    Raises ValueError, in one line, if it is not there or not of this form.
    """
    found = read_yaml(path)
    try:
        storage = found.pop("storage")
        rates = tuple(Rate(**entry) for entry in found.pop("rates"))
        return Rates(**{**found, **storage, "rates": rates, "date": str(found.get("date", ""))})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no file of rates: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_yaml(path: Path) -> Any:
    """What a file of rates says; ValueError, in one line, if there is none or it is no YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist: name a file of rates, or 'measure'") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {str(error).splitlines()[0]}") from error


def to_yaml(rates: Rates) -> str:
    """The file that `load_rates` reads."""
    plain: dict[str, Any] = dataclasses.asdict(rates)
    storage = {k: plain.pop(k) for k in ("read_bytes_per_second", "written_bytes_per_second")}
    plain["rates"] = [dict(entry) for entry in plain.pop("rates")]
    return str(yaml.safe_dump({**plain, "storage": storage}, sort_keys=False, allow_unicode=True))


def today() -> str:
    """Date of a measurement."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _distance(measured: int | None, wanted: int) -> float:
    return math.inf if measured is None else abs(math.log(measured / wanted))
