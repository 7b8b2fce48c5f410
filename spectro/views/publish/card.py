"""The dataset card, README.md: YAML that the hub reads, then what a reader needs to know.

All that comes from a run (names of models, subsets, components, warnings) is escaped; YAML is
written by PyYAML, so that no text ends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from spectro.formats.gpu_time import gpu_time
from spectro.formats.sessions import SESSIONS, read_heartbeats
from spectro.tokens.display.terminal_text import plain_string
from spectro.views.page.read_columns import read_columns
from spectro.views.page.read_ledger import NOT_THERE, worker_hours
from spectro.views.publish.config import PublishConfig
from spectro.views.publish.markdown import escaped, table
from spectro.views.publish.settings import text_source
from spectro.views.run_view import RunView

SPLIT = "train"
"""What `load_dataset` calls rows that are not split."""
DESCRIPTIONS = {
    "tokens": "one row per token in context: its susceptibilities `chi`, one per component in the "
    "order of `components`, its loss, cluster and place on the map",
    "sequences": "token ids of every sequence: the context of `tokens` row (sequence_id, position) "
    "is `input_ids[: position + 1]`, its token y is `input_ids[position + 1]`",
    "clusters": "sets of tokens with similar susceptibilities, largest first",
    "members": "tokens of every cluster, most central first",
    "regions": "groups of nearby clusters on the map",
    "components": "statistics of every component",
}
_INTRODUCTION = """\
Per-token susceptibilities of a language model: `chi[h]` says how component h (an attention head, an
MLP, an embedding) responds to token y after its context (Baker et al. 2025). Once columns are
standardised, below zero is expression (the component supports the token), above zero suppression.
Tokens with similar susceptibilities form the clusters (Gordon et al. 2026). Made with `spectro`."""
_CITATION = """\
```bibtex
@article{baker2025structural,
  title   = {Structural Inference: Interpreting Small Language Models with Susceptibilities},
  author  = {Baker, Garrett and Wang, George and Hoogland, Jesse and Pathak, Vinayak and
             Murfet, Daniel},
  journal = {arXiv preprint arXiv:2504.18274},
  year    = {2025}
}
@article{gordon2026towards,
  title   = {Towards Spectroscopy: Susceptibility Clusters in Language Models},
  author  = {Gordon, Andrew and Baker, Garrett and Wang, George and Snell, William and
             van Wingerden, Stan and Murfet, Daniel},
  journal = {arXiv preprint arXiv:2601.12703},
  year    = {2026}
}
```"""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the card says."""

    view: RunView
    """Of the run."""
    config: PublishConfig
    """What is published."""
    num_rows: Mapping[str, int]
    """Rows of every table, by name."""
    with_text: frozenset[str]
    """Subsets whose text is in the tables."""

    def text(self) -> str:
        """README.md."""
        title = self.config.title or self.view.title
        sections = [
            f"---\n{yaml.safe_dump(self._yaml(title), sort_keys=False)}---",
            f"# {escaped(title)}",
            _INTRODUCTION,
            self._tables(),
            "## Model and settings",
            table(("setting", "value"), self._settings()),
            "## Text",
            *self._text(),
            "## Reliability",
            *self._reliability(),
            "## Cost",
            table(("what", "amount"), self._cost()),
            "## Citation",
            _CITATION,
        ]
        return "\n\n".join(sections) + "\n"

    def _yaml(self, title: str) -> dict[str, Any]:
        licences = self.config.licences_of(self.view.subset_names)
        return {
            "pretty_name": plain_string(title),
            "license": sorted(set(licences.values())),
            "tags": ["interpretability", "susceptibilities", "spectro"],
            "configs": [
                {
                    "config_name": name,
                    "data_files": [{"split": SPLIT, "path": f"{name}/*.parquet"}],
                    **({"default": True} if name == "tokens" else {}),
                }
                for name in self.num_rows
            ],
        }

    def _tables(self) -> str:
        rows = [
            f"| `{name}` | {number:,} | {DESCRIPTIONS[name]} |"
            for name, number in self.num_rows.items()
        ]
        code = (
            "```python\n"
            "from datasets import load_dataset\n\n"
            'tokens = load_dataset("<this repository>", "tokens", split="train")\n'
            "```"
        )
        head = "| table | rows | what a row is |\n| --- | --- | --- |"
        units = (
            "χ is in nats², losses in nats. `settings.yaml` has all settings that determine the "
            "numbers, and the checksum of every file."
        )
        return "\n\n".join(["## Tables", f"{head}\n" + "\n".join(rows), code, units])

    def _settings(self) -> list[tuple[str, object]]:
        view, file = self.view, self.view.file
        model, chain = view.config.get("model", {}), view.config.get("chain", {})
        known = {
            "Model": text_source(model.get("name_or_path", "")),
            "Revision": model.get("revision"),
            "Weights, SHA-256": file.facts.get("weights_sha256"),
            "Precision": model.get("precision"),
            "Tokens": f"{view.num_tokens:,}, {view.context} in a sequence",
            "Components": len(view.components),
            "Sampler": _words(view.config.get("sampler", {})),
            "Chains": f"{chain.get('num_chains')} × {chain.get('num_draws')} draws",
            "Estimator": _words(view.config.get("estimator", {})),
            "Seed": view.config.get("seed"),
            "χ is": "predicted from another run" if view.is_predicted else "measured",
            "Clustering": _words(view.clusters.provenance.get("config", {}))
            if view.has_clusters
            else None,
            "Versions": ", ".join(f"{name} {version}" for name, version in file.versions.items()),
            "Commit": file.git_commit,
            "Fingerprint": file.fingerprint,
        }
        return [(name, value) for name, value in known.items() if value not in (None, "")]

    def _text(self) -> list[str]:
        view, config = self.view, self.config
        licences = config.licences_of(view.subset_names)
        counts = view.info.splits["probe"].counts
        sources = view.config.get("tokens", {}).get("subsets", {})
        sources = {**sources, **((view.config.get("more") or {}).get("subsets") or {})}
        rows = [
            (
                name,
                f"{counts.get(name, 0) * view.context:,}",
                text_source(_source(sources.get(name, {}))),
                licences[name],
                "yes" if name in self.with_text else "no, token ids only",
            )
            for name in view.subset_names
        ]
        found = [table(("subset", "tokens", "source", "licence", "text included"), rows)]
        if len(self.with_text) < len(rows):
            is_allowed = self.with_text < config.subsets_with_text(view.subset_names)
            why = "the tokenizer was missing" if is_allowed else _why_not(config)
            found.append(f"Text is left out where {why}.")
        return found

    def _reliability(self) -> list[str]:
        """Split-half reliability over components, and the run's own warnings."""
        columns = read_columns(self.view.store, self.view.components, self.view.interval)
        rows = []
        for name, values_H in (
            ("as measured", columns.reliability_H),
            ("standardised, rows centred", columns.centred_reliability_H),
        ):
            known = np.array([]) if values_H is None else values_H[np.isfinite(values_H)]
            if known.size:
                low, middle, high = np.quantile(known, [0, 0.5, 1])
                rows.append((name, f"{middle:.2f}", f"{low:.2f}", f"{high:.2f}", known.size))
        if not rows:
            return ["Not known: one chain, or a run that keeps no halves."]
        heads = ("split-half reliability of χ", "median", "least", "most", "components")
        return [table(heads, rows), *(f"- {escaped(line)}" for line in columns.warnings)]

    def _cost(self) -> list[tuple[str, str]]:
        root = self.view.root
        try:
            found = worker_hours(root)
            cost = gpu_time(read_heartbeats(root, root.list(SESSIONS))).cost
        except NOT_THERE:  # whose text names places on this machine
            return [("Worker hours", "not known: records of sessions are missing or damaged")]
        device = self.view.file.facts.get("device")
        if device:
            found.append(("Device", str(device)))
        return found if cost is None else [*found, ("Price", f"{cost:,.2f}")]


def _why_not(config: PublishConfig) -> str:
    if not config.text:
        return "its publication was not asked for"
    return "its licence is not known, or does not allow excerpts to be redistributed"


def _source(source: Mapping[str, Any]) -> str:
    """Dataset, file or folder that a subset's text is from."""
    return str(source.get("name") or source.get("path") or source.get("kind") or "")


def _words(settings: Mapping[str, Any]) -> str:
    """`kind reweighted, gamma 300.0, …`."""
    return ", ".join(f"{name} {value}" for name, value in settings.items() if value is not None)
