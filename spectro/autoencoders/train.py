"""Trains a TopK autoencoder (Gao et al. 2024, arXiv 2406.04093) on a stream of activations.

    loss = ‖x − x̂‖² / var + α ‖(x − x̂) − ê‖² / var

where ê decodes the `k_aux` strongest features of those that were not active for `dead_tokens`: so
that they learn what the others leave. Rows of the decoder have norm 1. The decoder starts at
activations drawn at random less their mean, the encoder at its transpose.
Shapes: n activations of a batch, D their size, F features.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from spectro.autoencoders.autoencoder import ActivationKind, Autoencoder
from spectro.autoencoders.config import TopKConfig


def train_top_k(
    batches: Iterable[Tensor], num_batches: int, sample_mD: Tensor, config: TopKConfig
) -> Autoencoder:
    """An autoencoder trained on some batches of activations [n, D].

    Args:
        batches: at least `num_batches`.
        num_batches: steps.
        sample_mD: activations that the decoder starts from; their mean is where b_dec starts.
        config: settings.
    """
    state = _Training(sample_mD, config)
    decay = num_batches / 3
    for step, x_nD in zip(range(num_batches), batches, strict=False):
        rate = min(1.0, (num_batches - step) / decay)
        for group in state.optimizer.param_groups:
            group["lr"] = config.learning_rate * rate
        state.step(x_nD)
    return state.autoencoder()


class _Training(nn.Module):
    """Parameters and their optimiser."""

    def __init__(self, sample_mD: Tensor, config: TopKConfig) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(config.seed)
        mean_D = sample_mD.mean(dim=0)
        centred_mD = sample_mD - mean_D
        self.variance = float(centred_mD.square().sum(dim=1).mean())
        chosen = torch.randint(len(sample_mD), (config.num_features,), generator=generator)
        noise = torch.randn(config.num_features, sample_mD.shape[1], generator=generator)
        start_FD = centred_mD[chosen] + 0.1 * noise * centred_mD.std()
        start_FD = nn.functional.normalize(start_FD, dim=1)
        self.w_dec_FD = nn.Parameter(start_FD.clone())
        self.w_enc_DF = nn.Parameter(start_FD.T.contiguous().clone())
        self.b_enc_F = nn.Parameter(torch.zeros(config.num_features))
        self.b_dec_D = nn.Parameter(mean_D.clone())
        self.quiet_F = torch.zeros(config.num_features, dtype=torch.int64)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=config.learning_rate)

    def step(self, x_nD: Tensor) -> None:
        """One step of Adam."""
        self.optimizer.zero_grad()
        own_nF = torch.relu((x_nD - self.b_dec_D) @ self.w_enc_DF + self.b_enc_F)
        value_nk, index_nk = own_nF.topk(self.config.k, dim=-1, sorted=False)
        error_nD = x_nD - self._decoded(value_nk, index_nk) - self.b_dec_D
        loss = error_nD.square().sum(dim=1).mean() / self.variance
        self._count(index_nk, value_nk, len(x_nD))
        dead_F = self.quiet_F > self.config.dead_tokens
        if (num := min(self.config.k_aux, int(dead_F.sum()))) > 0:
            value, index = own_nF.masked_fill(~dead_F, 0.0).topk(num, dim=-1, sorted=False)
            missed = (error_nD.detach() - self._decoded(value, index)).square().sum(dim=1).mean()
            loss = loss + self.config.aux_weight * missed / self.variance
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        with torch.no_grad():
            self.w_dec_FD.copy_(nn.functional.normalize(self.w_dec_FD, dim=1))

    def autoencoder(self) -> Autoencoder:
        """What was trained."""
        return Autoencoder(
            w_enc_DF=self.w_enc_DF.detach(),
            b_enc_F=self.b_enc_F.detach(),
            w_dec_FD=self.w_dec_FD.detach(),
            b_dec_D=self.b_dec_D.detach(),
            shift_D=self.b_dec_D.detach(),
            kind=ActivationKind.TOP_K,
            k=self.config.k,
        )

    def _decoded(self, value_nk: Tensor, index_nk: Tensor) -> Tensor:
        bag: Tensor = nn.functional.embedding_bag(
            index_nk, self.w_dec_FD, per_sample_weights=value_nk, mode="sum"
        )
        return bag

    def _count(self, index_nk: Tensor, value_nk: Tensor, num_tokens: int) -> None:
        self.quiet_F += num_tokens
        self.quiet_F[index_nk[value_nk > 0]] = 0
