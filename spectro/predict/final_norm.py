"""Second derivatives of ℓ through the last layer norm and the softmax, in closed form.

With centred stream c, σ its standard deviation, x̂ = c/σ, ũ_v the centred rows of the output matrix
times the norm's gain, s_v = x̂ · ũ_v, and r = Σ p_v ũ_v − ũ_y, the Hessian of ℓ in the stream is

    J (Cov_p ũ) J − [r x̂ᵀ + x̂ rᵀ + (r·x̂)(P − 3 x̂x̂ᵀ/D)] / (D σ²),     J = (P − x̂x̂ᵀ/D) / σ

(P takes the mean out; an RMS norm centres nothing, and P = 1). Its trace over the stream, and over
what each head can write to it, are what noise on the last layer's output matrices and values does
to ℓ; for lower layers, what it does along the direct path. For the unembedding h·ε of variance
‖h‖²/γ on every logit makes ½ ‖h‖² (1 − Σ p²).

Shapes as in clean_pass.py; features are [B, T].
"""

from __future__ import annotations

from torch import Tensor

from spectro.predict.clean_pass import CleanPass

Features = dict[str, Tensor]


def final_norm_features(clean: CleanPass) -> Features:
    """Traces of both parts over the stream and over the output space of every head."""
    model = clean.model
    size = model.shape.hidden_size

    def centre(vectors: Tensor) -> Tensor:
        return vectors - vectors.mean(-1, keepdim=True) if model.has_layer_norm else vectors

    rows_VD = centre(clean.unembed_VD * model.norm_gain(model.final_norm_name))
    centred = centre(clean.streams[-1])
    sigma = (centred.square().mean(-1) + model.shape.layer_norm_eps).sqrt()
    unit = centred / sigma[..., None]
    p = clean.log_p_BTV.exp()
    shrink = unit @ rows_VD.T
    mean_row, mean_shrink = p @ rows_VD, (p * shrink).sum(-1)
    variance = (p * shrink**2).sum(-1) - mean_shrink**2
    cross = (p * shrink) @ rows_VD - mean_shrink[..., None] * mean_row
    target_shrink = shrink.gather(-1, clean.targets_BT[..., None])[..., 0]
    residual = mean_row - rows_VD[clean.targets_BT]
    along = mean_shrink - target_shrink

    def traces(space_KD: Tensor | None) -> tuple[Tensor, Tensor]:
        """Both parts, over the row space of a centred matrix, or over the stream."""

        def to(vectors: Tensor) -> Tensor:
            return vectors if space_KD is None else vectors @ space_KD.T

        spread = p @ to(rows_VD).square().sum(-1)
        total = size - model.has_layer_norm if space_KD is None else space_KD.square().sum()
        of_unit, of_cross = to(unit), to(cross)
        gauss_newton = (
            spread
            - to(mean_row).square().sum(-1)
            - 2 * (of_unit * of_cross).sum(-1) / size
            + variance * of_unit.square().sum(-1) / size**2
        )
        second = 2 * (to(residual) * of_unit).sum(-1) + along * (
            total - 3 * of_unit.square().sum(-1) / size
        )
        return gauss_newton / sigma**2, -second / size / sigma**2

    found = {
        "last.shrink_variance": variance,
        "last.shrink_target": target_shrink,
        "last.shrink_mean": mean_shrink,
        "last.scale": sigma.log(),
        "unembed.trace": clean.hidden_BTD.square().sum(-1) * (1 - p.square().sum(-1)) / 2,
    }
    found["last.curvature"], found["last.response"] = traces(None)
    for index, layer in enumerate(clean.layers):
        for head, output_KD in enumerate(layer.output_HKD.unbind(0)):
            name = f"l{index}h{head}.last"
            found[f"{name}_curvature"], found[f"{name}_response"] = traces(centre(output_KD))
    return found
