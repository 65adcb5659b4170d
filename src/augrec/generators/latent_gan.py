"""A GAN over users' vectors in a trained recommender: neither memory nor time grows with users ×
items."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated, ClassVar, cast

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from pydantic import Field
from torch import Tensor

from augrec.core.config import Auto
from augrec.core.data_shape import DataShape
from augrec.core.seeds import derive, rng
from augrec.data.histories import Histories
from augrec.data.row_details import RowDetails
from augrec.data.training_data import TrainingData
from augrec.generators._conditions import Conditions
from augrec.generators._latent.item_decoder import ItemDecoder, item_classes
from augrec.generators._latent.user_space import UserSpace
from augrec.generators._latent.vector_gan import (
    VectorCritic,
    VectorGanConfig,
    VectorGenerator,
    new_networks,
    vector_train_state,
)
from augrec.generators._training.loop import one_of_several
from augrec.generators._training.train_state import TrainState
from augrec.generators.base import realness_table
from augrec.generators.neural import MOST, NeuralGenerator
from augrec.nn.averages import MovingAverage
from augrec.nn.determinism import fixed_threads

_logger = logging.getLogger(__name__)
_FIRST_SHARPNESS = 8.0
_DECODER_PASSES, _FEWEST_DECODER_STEPS = 12, 300
_USERS_AT_ONCE = 2**16


class LatentGanConfig(VectorGanConfig):
    """Options of the embedding, the decoder and the GAN."""

    renamed: ClassVar = {"sweeps": "epochs"}

    factors: int = Field(32, ge=1)
    """Length of the vectors of iALS, and so of the users that the GAN draws."""
    epochs: int = Field(10, ge=1)
    """Passes of iALS over users and items."""
    unobserved_ratio: float = Field(5.0, gt=0.0)
    """Of iALS: weight of all pairs of user and item that were not met, which count as zeros, over
    the weight of all those met."""
    regularisation: float = Field(0.01, gt=0.0)
    """Of iALS: penalty on the vectors."""
    decoder_steps: Annotated[int, Field(ge=1)] | Auto = "auto"
    """Updates of the decoder, on real users. auto: more for more data, see `decoder_steps`."""
    decoder_batch: int = Field(2048, ge=1)
    """Interactions in each of them."""
    decoder_learning_rate: float = Field(1e-2, gt=0.0)
    """Adam's step size for the decoder."""
    max_full_items: int = Field(4096, ge=1)
    """Catalogues up to this size are decoded in full, larger ones class by class."""
    sharpness: float = Field(1.3, gt=0.0)
    """Inverse temperature of users' taste while drawing; above 1 profiles keep closer to it."""
    calibration_rounds: int = Field(3, ge=0)
    """Times a sample's item popularity is compared with the real one and the decoder's biases
    moved."""
    calibration_users: int = Field(4096, ge=1)
    """Users in that sample."""
    damping: float = Field(5.0, gt=0.0)
    """Pseudo-counts in that comparison: how often an item must have been met before its bias
    follows."""
    log_every: int = Field(100, ge=1)
    """Steps between two points of the training curve."""


def decoder_steps(shape: DataShape, config: LatentGanConfig) -> int:
    """The steps in which the decoder reads each interaction 12 times: it has a vector for each
    item, which learns when an interaction with the item is read."""
    share, fewest = config.decoder_batch / shape.n_interactions, _FEWEST_DECODER_STEPS
    return shape.steps(_DECODER_PASSES, share, fewest, MOST * fewest)


class LatentGan(NeuralGenerator):
    """iALS embeds real users, a conditional GAN learns their vectors, a class-based softmax over
    the items decodes.

    Training takes time and memory linear in interactions, users and items; drawing an item takes
    O(√items). Synthetic users have distinct items, drawn without replacement, and lengths that
    occur among real users.
    """

    Config: ClassVar[type[LatentGanConfig]] = LatentGanConfig
    rules: ClassVar = {**NeuralGenerator.rules, "decoder_steps": decoder_steps}

    space: UserSpace
    decoder: ItemDecoder
    network: VectorGenerator
    critic: VectorCritic

    def realness(self, sample: pl.DataFrame) -> pl.DataFrame | None:
        """The critic's score of each user's vector; attributes are taken as unknown."""
        histories = Histories.from_interactions(sample, self.items)
        parts = [np.empty(0, np.float32)]
        with fixed_threads(self.config.threads), torch.no_grad():
            for batch in histories.batches(_USERS_AT_ONCE):
                lengths = np.maximum(batch.matrix().getnnz(axis=1), 1)
                unknown = np.full((len(batch), len(self.conditions.labels)), -1)
                condition = torch.as_tensor(
                    self.conditions.encode(lengths, unknown), device=self.device
                )
                parts.append(self.critic(self.space.encode(batch), condition).cpu().numpy())
        return realness_table(histories.users, np.concatenate(parts))

    def _fit(self, data: TrainingData) -> None:
        with fixed_threads(self.config.threads):
            self._learn(data)

    def _learn(self, data: TrainingData) -> None:
        config = self.config
        self.space, histories, latent = UserSpace.learn(
            data.interactions,
            self._embedding(),
            config.unobserved_ratio,
            derive(self.seed, "embedding"),
            self.device,
        )
        self.items, matrix = self.space.items, histories.matrix()
        self.conditions = Conditions.of(
            histories.users, np.diff(matrix.indptr), data.users, config.max_attribute_values
        )
        self.details = RowDetails.of(data.interactions, self.items)
        counts = matrix.getnnz(axis=0).astype(np.float64)
        _logger.info(
            "%d users, %d items, %d entries, condition of width %d",
            *matrix.shape,
            matrix.nnz,
            self.conditions.width,
        )
        classes = item_classes(self.space.item_vectors.cpu(), config.max_full_items)
        self.decoder = self._new_decoder(counts, classes)
        self._train_decoder(latent, matrix)
        conditions = torch.as_tensor(
            self.conditions.vectors(np.arange(len(latent))), device=latent.device
        )

        def statistics(network: VectorGenerator) -> dict[str, float]:
            return self._statistics(
                counts, lambda rows, seed: self._decoded(network, self.decoder, rows, seed)
            )

        self.network, self.critic = self._train_gan(
            latent, conditions, one_of_several(data, "users"), "users", config.steps, statistics
        )
        self._calibrate(counts)

    def _new_decoder(self, counts: np.ndarray, classes: np.ndarray) -> ItemDecoder:
        vectors = self.space.item_vectors
        return ItemDecoder(vectors, counts, vectors.shape[1], classes).to(self.device)

    def _train_decoder(self, latent: Tensor, matrix: sp.csr_matrix) -> None:
        """Fit the decoder to real users' vectors float32 (n, d) and what they met, (n, n_items)."""
        config, device, random = self.config, latent.device, rng(self.seed, "decoder")
        whitening = self.space.whitening
        with torch.no_grad():  # start at a multiple of iALS's own scores
            self.decoder.query.weight.copy_(_FIRST_SHARPNESS * whitening.back.T)
            self.decoder.query.bias.copy_(_FIRST_SHARPNESS * whitening.mean)
        optimizer = torch.optim.Adam(
            self.decoder.parameters(), config.decoder_learning_rate, fused=True
        )
        for _ in range(config.decoder_steps):
            entries = random.integers(0, matrix.nnz, config.decoder_batch)
            users = np.searchsorted(matrix.indptr, entries, side="right") - 1
            met = torch.as_tensor(matrix.indices[entries].astype(np.int64), device=device)
            loss = self.decoder.loss(latent[torch.as_tensor(users, device=device)], met)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    def _train_gan(
        self,
        vectors: Tensor,
        conditions: Tensor,
        data: TrainingData,
        part: str,
        steps: int,
        statistics: Callable[[VectorGenerator], dict[str, float]],
    ) -> tuple[VectorGenerator, VectorCritic]:
        """Learn vectors float32 (n, width) under conditions; the averaged generator and the critic.

        Args:
            vectors, conditions, statistics: see `vector_train_state`.
            data: of this training.
            part: names this training among those of the generator.
            steps: generator updates.
        """
        seed = derive(self.seed, part)

        def start(lr_factor: float) -> TrainState:
            return vector_train_state(
                self.config,
                vectors,
                conditions,
                seed=seed,
                lr_factor=lr_factor,
                statistics=statistics,
            )

        modules = self._train(start, data, steps=steps).modules
        average = cast(MovingAverage, modules["average"]).module
        return cast(VectorGenerator, average), cast(VectorCritic, modules["critic"])

    def _calibrate(self, counts: np.ndarray) -> None:
        """Let synthetic users, not real ones, have each item as often as it was met."""
        for turn in range(self.config.calibration_rounds):
            rows = self.conditions.draw(
                self.config.calibration_users, {}, rng(self.seed, "calibrate", turn)
            )
            positions = self._profiles(rows, derive(self.seed, "calibrate", turn))
            drawn = np.bincount(positions, minlength=len(counts))
            self.decoder.calibrate(drawn, counts, self.config.damping)

    def _profiles(self, rows: np.ndarray, seed: int) -> np.ndarray:
        return self._decoded(self.network, self.decoder, rows, seed)

    @torch.no_grad()
    def _decoded(
        self, network: VectorGenerator, decoder: ItemDecoder, rows: np.ndarray, seed: int
    ) -> np.ndarray:
        """As `_profiles`, from a generator network and a decoder."""
        random = self._random(seed)
        condition = torch.as_tensor(self.conditions.vectors(rows), device=self.device)
        latent = network.draw(condition, random)
        return decoder.draw(
            latent, self.conditions.lengths[rows], random, sharpness=self.config.sharpness
        )

    def _embedding(self) -> dict[str, object]:
        config = self.config
        return {
            "factors": config.factors,
            "epochs": config.epochs,
            "regularisation": config.regularisation,
            "threads": config.threads,
        }

    def _build(self) -> None:
        self.network, self.critic = new_networks(
            self.config, self.config.factors, self.conditions.width, self.device, self.seed
        )

    def _modules(self) -> dict[str, torch.nn.Module]:
        return {"decoder": self.decoder, "network": self.network, "critic": self.critic}

    def _state(self) -> dict[str, np.ndarray]:
        return {**super()._state(), **self.space.state()}

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self.space = UserSpace.from_state(state, self._embedding(), self.seed, self.device)
        ones = np.ones(len(self.space.items))
        self.decoder = self._new_decoder(ones, state["decoder.classes"])
        super()._restore(state)
