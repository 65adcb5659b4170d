"""The config of the group GAN, which its parts read."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from augrec.core.data_shape import DataShape
from augrec.recommenders._neural.base import NeuralConfig


class GroupGanConfig(NeuralConfig):
    """The parts, each of which can be left out, and their training."""

    groups: int | list[int] = 10
    """Taste groups; of several numbers the one whose groups' popular items suit validation users
    best, the first without any."""
    min_group_users: int = Field(10, ge=1)
    """Smaller groups are dissolved into the nearest others."""
    grouping: Literal["k_means", "random", "none"] = "k_means"
    """How users are put into groups; random and none are for comparison."""
    content: bool = True
    """Whether what the items table says about items is among their features."""
    vae: bool = True
    """Whether a variational autoencoder models the profiles of each group."""
    gan: bool = True
    """Whether a generator adds to its lists, trained against a critic."""
    live: bool = True
    """Whether a recurrent network moves a user's vector with every event."""
    width: int = Field(64, ge=1)
    """Length of the vectors of users, items and groups."""
    content_width: int = Field(128, ge=1)
    """Length of the items' content vectors."""
    hidden: int = Field(200, ge=1)
    """Width of hidden layers."""
    latent: int = Field(64, ge=1)
    """Width of the profile model's code."""
    critic_hidden: int = Field(32, ge=1)
    """Width of the critic's hidden layer."""
    max_length: int = Field(50, ge=1)
    """The number of latest items that the live update reads."""
    ahead: int = Field(10, ge=1)
    """The live update predicts an item from a history that ends at most this number of items
    before."""
    live_share: float = Field(0.5, ge=0, le=1)
    """How far the live update moves a user's vector."""
    vector_share: float = Field(0.5, ge=0, le=1)
    """Weight of the product of user's and item's vectors against the list."""
    draws: int = Field(0, ge=0)
    """Draws of noise that a list is averaged over; 0: the mean of the noise."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of a history, and of inner values of the live update, hidden while training."""
    truncate: float = Field(0.5, ge=0, le=1)
    """Share of the training histories cut to their first 1 to 5 items, while all the user's items
    stay the target."""
    beta: float = Field(0.2, ge=0)
    """Weight of the profile model's KL term, reached after half of the steps."""
    gan_weight: float = Field(0.1, ge=0)
    """Weight of what the critic says against the log-likelihood per item, in the generator's
    loss."""
    partial_masking: float = Field(0.05, ge=0, le=1)
    """Share of the items a user has not met that the critic also sees."""
    penalty: float = Field(1.0, ge=0)
    """Weight of the critic's gradient penalties."""
    learning_rate: float = Field(2e-3, gt=0)
    """Of Adam, for all networks."""
    weight_decay: float = Field(0.0, ge=0)
    """Decoupled, as in AdamW."""
    average: float = Field(0.98, ge=0, lt=1)
    """What is kept of the weights' moving average in a step, less at first; the average is used."""
    batch_size: int = Field(128, ge=1)
    """Users in a step; the live update reads an eighth as many windows of histories."""

    passes: ClassVar[int] = 50

    @property
    def numbers(self) -> list[int]:
        """The numbers of groups to choose from."""
        return self.groups if isinstance(self.groups, list) else [self.groups]

    @property
    def most_groups(self) -> int:
        """The largest of them."""
        return max(self.numbers)

    def share_read(self, shape: DataShape) -> float:
        """A step reads whole users."""
        return shape.share_read(self.batch_size)
