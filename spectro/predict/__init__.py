"""χ predicted from the clean forward pass: upsampling and denoising."""
