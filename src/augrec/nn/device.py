"""The device that a network is trained and used on."""

from __future__ import annotations

from typing import Literal

import torch

from augrec.core.errors import ConfigError

Device = Literal["auto", "cpu", "cuda"]


def choose_device(wanted: Device, section: str) -> torch.device:
    """The device that a component's config asks for; "auto" is CUDA if there is any.

    Args:
        wanted: the config key `device`.
        section: the component's section of params.yaml, see `Configured.section`.

    Raises:
        ConfigError: CUDA is asked for and absent.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise ConfigError(
            "there is no CUDA device here", where=f"{section}.device", fix="set it to auto"
        )
    if wanted == "auto":
        wanted = "cuda" if available else "cpu"
    return torch.device(wanted)
