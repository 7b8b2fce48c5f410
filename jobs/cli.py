"""The `spectro` command: `spectro <command> [key=value ...]`; the grammar is in arguments.py."""

from __future__ import annotations

import importlib
import sys

from spectro.extras import missing_extra

COMMANDS = {
    "pipeline": "everything: tokens, chains, susceptibilities, clusters, page",
    "tokens": "token sequences only",
    "plan": "what a run will cost: flops, hours, memory, bytes (no weights needed)",
    "calibrate": "tokens or draws, gamma and nbeta for a budget, by a pilot of minutes",
    "sample": "tokens, chains and susceptibilities",
    "cluster": "clusters of a measured run (run.uri=...)",
    "upsample": "χ of tokens never measured, predicted from a measured run (<run> <new run>)",
    "compare": "how far the clusters of two runs, or more, agree (<run> <run> ...)",
    "matrix": "mean responses of subsets, clusters or pattern types, as numbers (<run>)",
    "circuit": "the induction circuit: what heads do, beside the axes of their χ (<run>)",
    "pattern": "data weights that shift responses towards a target (<run> target.…=…)",
    "sae": "clusters against features of a sparse autoencoder (<run> [<autoencoder>])",
    "across": "tokens, components, clusters over runs or checkpoints (<run> <run> ... token=the)",
    "figure": "a picture for a paper: SVG, PDF or PNG (<run> kind=matrix out=matrix.svg)",
    "assign": "tokens measured later to the clusters of a run (run.uri=...)",
    "query": 'SQL over a run, nearest tokens, members of clusters (<run> "select ...")',
    "diagnose": "how the chains of every component went, and what to change (<run>)",
    "names": "what distinguishes the tokens of each cluster, and how well it predicts them (<run>)",
    "report": "the page of a clustered run (run.uri=...)",
    "text": "a text coloured by χ: a sequence of a run, or a file (<run> [<file>])",
    "map": "the cluster map of a run as a folder for any static server (<run>)",
    "publish": "a run as a dataset: a folder, or a repository of the hub (<run> <place>)",
    "resume": "go on with a run from its own run.yaml (run.uri=...)",
    "status": "how far a run is, while it goes on or after (run.uri=...)",
    "runs": "a table of all runs below a folder or bucket (runs.root=...)",
    "verify": "re-read all of a run against its checksums and counts (run.uri=...)",
    "render": "the Kubernetes job for a run, as YAML (render.overlay=..., run.uri=s3://...)",
    "leave": "stop the drivers of this Ray head in order before it goes, and wait for them",
    "pretrain": "train the embedded or the attention-only model",
    "autoencoder": "train a small sparse autoencoder of a model (out_dir=<folder>)",
}


def main() -> int:
    """Run the command that the first argument names; returns the exit status."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: spectro <command> [key=value ...]\n")
        print("\n".join(f"  {name:<11} {what}" for name, what in COMMANDS.items()))
        print("\nspectro <command> --help describes it and lists its settings.")
        return 0 if arguments else 2
    name = arguments[0]
    if name not in COMMANDS:
        sys.stderr.write(f"spectro: no command {name!r}; known: {', '.join(COMMANDS)}\n")
        return 2
    sys.argv = [f"spectro {name}", *arguments[1:]]
    try:
        return int(importlib.import_module(f"{__package__}.{name}").main())
    except ModuleNotFoundError as error:
        if (message := missing_extra(error)) is None:
            raise
        sys.stderr.write(f"{name}: {message}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
