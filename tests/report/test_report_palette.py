"""The subsets' colours are distinguishable, also to those who see fewer of them."""

import itertools
import re
from importlib.resources import files

import numpy as np
import pytest

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
VISION = {
    "full": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def linear(colour):
    channel = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)


def oklab(rgb):
    """Ottosson 2020."""
    to_lms = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    to_lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    return np.array(to_lab) @ np.cbrt(np.array(to_lms) @ np.clip(rgb, 0, 1))


def palettes():
    style = (files("spectro.views") / "viewer" / "common" / "base.css").read_text()
    light, dark = style.split("}", 2)[:2]
    return {
        name: dict(re.findall(r"--(s\d|raised): (#\w{6})", block))
        for name, block in (("light", light), ("dark", dark))
    }


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_are_far_apart_in_every_vision(theme, vision):
    colours = [value for name, value in palettes()[theme].items() if name != "raised"]
    assert len(colours) == 8
    seen = [oklab(np.array(VISION[vision]) @ linear(colour)) for colour in colours]
    # Okabe and Ito's eight reach 0.076 on the same measure.
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 0.11


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_stand_out_from_the_paper(theme):
    palette = palettes()[theme]
    light_of = {name: linear(value) @ [0.2126, 0.7152, 0.0722] for name, value in palette.items()}
    paper = light_of.pop("raised")
    for light in light_of.values():
        assert (max(light, paper) + 0.05) / (min(light, paper) + 0.05) > 2.5
