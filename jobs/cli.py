"""The `spectro` command: `spectro <job> [key=value ...]` is `python -m jobs.<job> ...`."""

from __future__ import annotations

import importlib
import json
import re
import sys

from jobs.short import SHORT, short

JOBS = {
    "pipeline": "everything: tokens, chains, susceptibilities, clusters, page",
    "tokens": "token sequences only",
    "plan": "what a run will cost: flops, hours, memory, bytes (no weights needed)",
    "sample": "tokens, chains and susceptibilities",
    "cluster": "clusters of a measured run (run.uri=...)",
    "compare": "how far the clusters of two runs, or more, agree (<run> <run> ...)",
    "matrix": "mean responses of subsets, clusters or pattern types, as numbers (<run>)",
    "across": "the clusters of one token in several runs (<run> <run> ... token=she)",
    "figure": "a picture for a paper: SVG, PDF or PNG (<run> kind=matrix out=matrix.svg)",
    "assign": "tokens measured later to the clusters of a run (run.uri=...)",
    "query": 'SQL over a run, nearest tokens, members of clusters (<run> "select ...")',
    "diagnose": "how the chains of every component went, and what to change (<run>)",
    "report": "the page of a clustered run (run.uri=...)",
    "text": "a text coloured by χ: a sequence of a run, or a file (<run> [<file>])",
    "map": "the cluster map of a run as a folder for any static server (<run>)",
    "resume": "go on with a run from its own run.yaml (run.uri=...)",
    "status": "how far a run is, while it goes on or after (run.uri=...)",
    "runs": "a table of all runs below a folder or bucket (runs.root=...)",
    "verify": "re-read all of a run against its checksums and counts (run.uri=...)",
    "render": "the Kubernetes job for a run, as YAML (render.overlay=..., run.uri=s3://...)",
    "leave": "tell the drivers of this Ray head that it is to go, and wait for them",
    "pretrain": "train the embedded model",
}


def main() -> int:
    """Hand the arguments to a job; returns the exit status."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: spectro <job> [key=value ...]\n")
        print("\n".join(f"  {name:<10} {what}" for name, what in JOBS.items()))
        print("\nspectro <job> --help lists the job's settings.")
        return 0 if arguments else 2
    name = arguments[0]
    if name not in JOBS:
        sys.stderr.write(f"spectro: no job {name!r}; known: {', '.join(JOBS)}\n")
        return 2
    sys.argv = [f"spectro {name}", *_ordered(name, arguments[1:])]
    status = importlib.import_module(f"jobs.{name}").main()
    return int(status or 0)


PLACES = {"runs": "runs.root"}
"""Setting that a bare first argument stands for; `run.uri` for the others that take one."""
TAKE_A_RUN = (
    "status",
    "verify",
    "resume",
    "cluster",
    "report",
    "runs",
    "assign",
    "text",
    "map",
    "matrix",
    "figure",
    "query",
    "diagnose",
)

SETTING = r"-|[+~]?[\w.@/]+="
"""How a flag or a setting begins; other arguments are bare."""


def _ordered(name: str, arguments: list[str]) -> list[str]:
    """`spectro verify <run>` is `spectro verify run.uri=<run>`; Hydra wants its `-m` first."""
    if name == "compare":
        arguments = _places(arguments)
    if name == "across":
        arguments = _across(arguments)
    if name == "assign":  # `from` is a word of Python's
        arguments = [re.sub(r"^from=", "source=", text) for text in arguments]
    if name == "figure":  # `cluster` is a group of Hydra's
        arguments = [re.sub(r"^cluster=", "cluster_id=", text) for text in arguments]
    if name in SHORT:
        arguments = short(name, arguments)
    if name in TAKE_A_RUN and arguments and not re.match(SETTING, arguments[0]):
        arguments = [f"{PLACES.get(name, 'run.uri')}={arguments[0]}", *arguments[1:]]
    if name == "text" and len(arguments) > 1 and not re.match(SETTING, arguments[1]):
        arguments[1] = f"file={json.dumps(arguments[1], ensure_ascii=False)}"
    flags = [text for text in arguments if text in ("-m", "--multirun")]
    return [*flags, *(text for text in arguments if text not in flags)]


def _places(arguments: list[str]) -> list[str]:
    """Bare arguments as one list, quoted: a URI has characters that mean something to Hydra."""
    places = [text for text in arguments if not re.match(r"[-+~]|(compare|hydra)[.=]", text)]
    if not places:
        return arguments
    quoted = ",".join(json.dumps(place, ensure_ascii=False) for place in places)
    return [f"compare.places=[{quoted}]", *(text for text in arguments if text not in places)]


def _across(arguments: list[str]) -> list[str]:
    """Bare arguments as the list of runs, and the token quoted: it may be a mark of Hydra's."""
    given = [text for text in arguments if re.match(r"[-+~]|[\w.]+=", text)]
    runs = [text for text in arguments if text not in given]
    given = [
        f"token={json.dumps(text[6:], ensure_ascii=False)}" if text.startswith("token=") else text
        for text in given
    ]
    quoted = ",".join(json.dumps(run, ensure_ascii=False) for run in runs)
    return [*([f"runs=[{quoted}]"] if runs else []), *given]


if __name__ == "__main__":
    sys.exit(main())
