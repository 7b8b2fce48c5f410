"""What a run will cost, before anything is spent: flops, hours, memory, bytes.

Takes the settings of a run and needs no weights: a checkpoint's config.json, or the name of a
published model, is enough. With plan.bill=true, the bill of the finished run at run.uri beside it.
With tokens=more, what it costs to measure more tokens of the run at run.uri. Then what clusters
cost: of the run's tokens, or of plan.cluster_tokens, on plan.nodes machines of plan.cores.

  spectro plan
  spectro plan experiment=pythia_1_4b_fast plan.rates=h200-assumed plan.num_devices=8
  spectro plan run.uri=runs/demo plan.bill=true
"""

from __future__ import annotations

from dataclasses import dataclass, field

from spectro.config import PipelineConfig, with_absolute_paths
from spectro.formats.out_file import place_of, put_file
from spectro.planning.config import PlanConfig

from .command import Command
from .stored import requested, stored_config


@dataclass(frozen=True, kw_only=True)
class PlanJob(PipelineConfig):
    """Settings of `spectro plan`: those of a run, and of its plan."""

    plan: PlanConfig = field(default_factory=PlanConfig)
    """What is assumed, and on which devices."""


def _plan(job: PlanJob) -> None:
    from .plan_run import make_report  # torch: not for --help

    settings = job.plan
    config = with_absolute_paths(stored_config(job.run.uri) if settings.bill else requested(job))
    for out in (settings.out, settings.rates_out):
        if out is not None:
            place_of(out)  # before anything is measured
    report = make_report(config, settings)
    report.show()
    if settings.rates_out is not None:
        put_file(settings.rates_out, report.rates_yaml.encode())
    if settings.out is not None:
        put_file(settings.out, f"{report.json}\n".encode())


COMMAND = Command(name="plan", config=PlanJob, run=_plan, root="plan_job")
main = COMMAND.main


if __name__ == "__main__":
    raise SystemExit(main())
