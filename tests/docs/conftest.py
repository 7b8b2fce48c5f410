"""One tiny measured and clustered run, under the names that the pages give their runs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, GPTNeoXForCausalLM

from jobs import cli

Spectro = Callable[..., int]


@pytest.fixture(scope="session")
def model_dir(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the embedded model, four layers of four heads, so that the pages' components exist."""
    folder = tmp_path_factory.mktemp("four") / "model"
    shutil.copytree(tiny_model_dir, folder)
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(folder, num_hidden_layers=4, num_attention_heads=4)
    GPTNeoXForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(model_dir: Path, text_dir: Path) -> list[str]:
    """Settings that make any run one of seconds."""
    subsets = ", ".join(
        f"{name}: {{kind: text_folder, path: {json.dumps(str(text_dir / name))}}}"
        for name in ("code", "prose")
    )
    return [
        f"model.name_or_path={model_dir}",
        "model.device=cpu",
        "tokens=text_folder",
        "~tokens.subsets.text",
        f"+tokens.subsets={{{subsets}}}",
        "tokens.context=16",
        "tokens.num_probe_sequences=8",
        "tokens.num_sampling_sequences=4",
        "tokens.num_evaluation_sequences=4",
        "tokens.sequences_per_shard=8",
        "cluster.num_neighbours=8",
        "cluster.min_size=4",
        "run.num_workers=0",
    ]


def call(*words: str) -> int:
    """`spectro <words>` in this process; its exit status."""
    typed = sys.argv
    sys.argv = ["spectro", *words]
    try:
        return int(cli.main() or 0)
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else 0
    finally:
        sys.argv = typed


@pytest.fixture(scope="session")
def measured(tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `runs/demo`: measured, clustered, with its page and kept draws."""
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call("pipeline", *tiny, "run.keep_draws=true") == 0
    return folder
