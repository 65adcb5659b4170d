"""A GAN over users' vectors in a trained recommender: neither memory nor time grows with users ×
items."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import ClassVar, cast

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from pydantic import Field
from torch import Tensor

from augrec.core.seeds import derive, rng
from augrec.data.columns import Columns as C
from augrec.data.histories import Histories, ItemIndex
from augrec.data.row_details import RowDetails, build_interactions
from augrec.generators._conditions import Conditions
from augrec.generators._latent import vector_gan
from augrec.generators._latent.item_decoder import ItemDecoder, item_classes
from augrec.generators._latent.user_space import UserSpace
from augrec.generators._latent.vector_gan import VectorCritic, VectorGanConfig, VectorGenerator
from augrec.generators._training.lesson import Lesson
from augrec.generators._training.loop import fingerprint, train
from augrec.generators._training.modules import from_arrays, to_arrays
from augrec.generators._training.monitor import LOOK_AT_USERS, look
from augrec.generators._training.train_state import Course
from augrec.generators.base import Generator
from augrec.nn.averages import MovingAverage
from augrec.nn.determinism import fixed_threads
from augrec.nn.device import Device, choose_device

_logger = logging.getLogger(__name__)
_FIRST_SHARPNESS = 8.0
_USERS_AT_ONCE = 2**16


class LatentGanConfig(VectorGanConfig):
    """Knobs of the embedding, the decoder and the GAN."""

    renamed: ClassVar = {"sweeps": "epochs"}

    factors: int = Field(32, ge=1)
    """Length of the vectors of iALS, and so of the users the GAN makes."""
    epochs: int = Field(10, ge=1)
    """Passes of iALS over users and items."""
    unobserved_ratio: float = Field(5.0, gt=0.0)
    """Of iALS: all pairs of user and item that were not met count, as zeros, so many times what all
    those met do."""
    regularisation: float = Field(0.01, gt=0.0)
    """Of iALS: penalty on the vectors."""
    decoder_steps: int = Field(300, ge=1)
    """Updates of the decoder, on real users."""
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
    max_attribute_values: int = Field(32, ge=2)
    """User attributes with more different values are left out; numbers are cut at their quartiles
    instead."""
    log_every: int = Field(100, ge=1)
    """Steps between two points of the training curve."""
    threads: int = Field(1, ge=1)
    """CPU threads; the same number gives the same bytes. More than one is many times slower where
    cores are busy."""
    device: Device = "auto"
    """Where to train and sample; "auto" takes CUDA where there is one. Bytes are the same on the
    same device only."""


class LatentGan(Generator):
    """iALS embeds real users, a conditional GAN learns their vectors, a class-based softmax over
    the items decodes.

    Training takes time and memory linear in interactions, users and items; drawing an item takes
    O(√items). Synthetic users have distinct items, drawn without replacement, and lengths that real
    people have.
    """

    Config: ClassVar[type[LatentGanConfig]] = LatentGanConfig

    space: UserSpace
    details: RowDetails
    decoder: ItemDecoder
    network: VectorGenerator
    critic: VectorCritic

    @property
    def items(self) -> ItemIndex:
        """Every item of the training interactions."""
        return self.space.items

    def realness(self, sample: pl.DataFrame) -> pl.DataFrame | None:
        """The critic's view of each user's vector; their attributes are taken as unknown."""
        histories = Histories.from_interactions(sample, self.items)
        parts = [np.empty(0, np.float32)]
        with fixed_threads(self.config.threads), torch.no_grad():
            for some in histories.batches(_USERS_AT_ONCE):
                lengths = np.maximum(some.matrix().getnnz(axis=1), 1)
                codes = np.full((len(some), len(self.conditions.labels)), -1)
                condition = torch.as_tensor(
                    self.conditions.encode(lengths, codes), device=self._device()
                )
                parts.append(self.critic(self.space.encode(some), condition).cpu().numpy())
        return pl.DataFrame(
            {C.USER: histories.users.tolist(), "realness": np.concatenate(parts)},
            schema={C.USER: pl.String, "realness": pl.Float32},
        )

    def _fit(self, lesson: Lesson) -> None:
        with fixed_threads(self.config.threads):
            self._learn(lesson)

    def _learn(self, lesson: Lesson) -> None:
        config = self.config
        self.space, histories, latent = UserSpace.learn(
            lesson.interactions,
            self._embedding(),
            config.unobserved_ratio,
            derive(self.seed, "embedding"),
            self._device(),
        )
        matrix = histories.matrix()
        self.conditions = Conditions.of(
            histories.users, np.diff(matrix.indptr), lesson.users, config.max_attribute_values
        )
        self.details = RowDetails.of(lesson.interactions, self.items)
        counts = matrix.getnnz(axis=0).astype(np.float64)
        _logger.info(
            "%d users, %d items, %d interactions, condition of width %d, on %s",
            *matrix.shape,
            matrix.nnz,
            self.conditions.width,
            self._device(),
        )
        classes = item_classes(self.space.item_vectors.cpu(), config.max_full_items)
        self.decoder = self._new_decoder(counts, classes)
        self._train_decoder(latent, matrix)
        conditions = torch.as_tensor(
            self.conditions.vectors(np.arange(len(latent))), device=latent.device
        )
        trained = self._train_gan(
            latent,
            conditions,
            lesson,
            "users",
            config.steps,
            lambda network: self._look(network, counts),
        )
        self.network, self.critic = trained
        self._calibrate(counts)

    def _new_decoder(self, counts: np.ndarray, classes: np.ndarray) -> ItemDecoder:
        vectors = self.space.item_vectors
        return ItemDecoder(vectors, counts, vectors.shape[1], classes).to(self._device())

    def _train_decoder(self, latent: Tensor, matrix: sp.csr_matrix) -> None:
        """Fit the decoder to real users' vectors float32 (n, d) and what they met, (n, n_items)."""
        config, device, random = self.config, latent.device, rng(self.seed, "decoder")
        whitening = self.space.whitening
        with torch.no_grad():  # begin at a multiple of iALS's own scores
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
        lesson: Lesson,
        part: str,
        steps: int,
        look: Callable[[VectorGenerator], dict[str, float]],
        *,
        after: int = 0,
    ) -> tuple[VectorGenerator, VectorCritic]:
        """Learn vectors float32 (n, width) under conditions; the averaged generator and the critic.

        Args:
            vectors, conditions, look: see `_vector_gan.course`.
            lesson: receives the curve.
            part: names this training among those of the generator.
            steps: generator updates.
            after: the curve goes on after so many.
        """
        seed = derive(self.seed, part)

        def begin(gentler: float) -> Course:
            return vector_gan.course(
                self.config, vectors, conditions, seed=seed, gentler=gentler, look=look
            )

        modules = train(
            begin,
            name=self.name(),
            steps=steps,
            log_every=self.config.log_every,
            lesson=lesson.part(part, after=after),
            fingerprint=fingerprint(self, lesson),
        ).modules
        average = cast(MovingAverage, modules["average"]).module
        return cast(VectorGenerator, average), cast(VectorCritic, modules["critic"])

    def _calibrate(self, counts: np.ndarray) -> None:
        """Let generated users, not real ones, meet each item as often as it was met."""
        for turn in range(self.config.calibration_rounds):
            rows = self.conditions.draw(
                self.config.calibration_users, {}, rng(self.seed, "calibrate", turn)
            )
            positions = self._profiles(
                self.network, self.decoder, rows, derive(self.seed, "calibrate", turn)
            )
            drawn = np.bincount(positions, minlength=len(counts))
            self.decoder.calibrate(drawn, counts, self.config.damping)

    def _sample(self, n: int, condition: dict[str, object], seed: int) -> pl.DataFrame:
        rows = self._people(n, condition, seed)
        lengths = self.conditions.lengths[rows]
        with fixed_threads(self.config.threads):
            positions = self._profiles(self.network, self.decoder, rows, derive(seed, "profiles"))
        details = self.details.draw(positions, lengths, rng(seed, "details"))
        return build_interactions(self.name(), lengths, self.items.decode(positions), details)

    @torch.no_grad()
    def _profiles(
        self, network: VectorGenerator, decoder: ItemDecoder, rows: np.ndarray, seed: int
    ) -> np.ndarray:
        """Item positions int64 (nnz,) of one user for each condition row, in the order drawn."""
        random = torch.Generator(self._device()).manual_seed(seed)
        condition = torch.as_tensor(self.conditions.vectors(rows), device=self._device())
        latent = vector_gan.draw(network, condition, random)
        return decoder.draw(
            latent, self.conditions.lengths[rows], random, sharpness=self.config.sharpness
        )

    def _look(self, network: VectorGenerator, counts: np.ndarray) -> dict[str, float]:
        """Measures a small sample."""
        rows = self.conditions.draw(LOOK_AT_USERS, {}, rng(self.seed, "look"))
        positions = self._profiles(network, self.decoder, rows, derive(self.seed, "look"))
        return look(positions, self.conditions.lengths[rows], len(self.items), counts)

    def _embedding(self) -> dict[str, object]:
        config = self.config
        return {
            "factors": config.factors,
            "epochs": config.epochs,
            "regularisation": config.regularisation,
            "threads": config.threads,
        }

    def _device(self) -> torch.device:
        return choose_device(self.config.device, self.section())

    def _state(self) -> dict[str, np.ndarray]:
        return {
            **self.space.state(),
            **self.conditions.state(),
            **self.details.state(),
            **to_arrays(self._modules()),
        }

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        self.space = UserSpace.from_state(state, self._embedding(), self.seed, self._device())
        self.conditions = Conditions.from_state(state)
        self.details = RowDetails.from_state(state)
        self.decoder = self._new_decoder(np.ones(len(self.items)), state["decoder.classes"])
        self.network, self.critic = vector_gan.new_networks(
            self.config, self.config.factors, self.conditions.width, self._device(), self.seed
        )
        from_arrays(state, self._modules())

    def _modules(self) -> dict[str, torch.nn.Module]:
        return {"decoder": self.decoder, "network": self.network, "critic": self.critic}
