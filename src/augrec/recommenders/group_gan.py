"""Group GAN: users of the same taste form a group, and a generator gives the lists of its users."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from augrec.core.data_shape import DataShape
from augrec.core.seeds import rng
from augrec.data.cases import user_features_of
from augrec.data.histories import Histories
from augrec.data.training_data import TrainingData
from augrec.nn.averages import average_share, move_average
from augrec.nn.memory import check_memory
from augrec.nn.profile_batches import ProfileBatches
from augrec.nn.sequences import Windows, latest
from augrec.recommenders._explain import Background
from augrec.recommenders._neural.base import LARGE_CATALOGUES, NeuralRecommender
from augrec.recommenders._taste.clusters import k_means
from augrec.recommenders._taste.config import GroupGanConfig
from augrec.recommenders._taste.content import content_vectors
from augrec.recommenders._taste.description import TasteGroups, describe, popular_value
from augrec.recommenders._taste.live import LiveSteps, LiveTastes
from augrec.recommenders._taste.network import GroupGanNetwork
from augrec.recommenders._taste.profiles import ListCritic
from augrec.recommenders._taste.training import TrainingPass

_NUMBERS_AT_ONCE = 30
"""For each user and item of a batch, while a step is taken."""
_REGROUPINGS = (0.1, 0.3, 0.6)
"""Shares of the steps after which groups are found anew; they stay while the rest adapts."""
_USERS = 4096


class GroupGan(NeuralRecommender):
    """Five parts, trained together in every step.

    (a) A deep network maps behaviour and content to vectors of users and items (`FeatureNetwork`),
    by cross-entropy over the catalogue. (b) k-means on the users' vectors gives groups; a user is
    in the group of the nearest centre, whose vector stands for the group. (c) A variational
    autoencoder models profiles given the group's vector. (d) A generator G(z, group, user) adds to
    its logits, against a critic that sees the group. (e) A recurrent network moves the user's
    vector with every event, and so may change the group. A score is the log of the geometric mean
    of the list and of the product of vectors, with weights 1 - `vector_share` and `vector_share`.

    Entries that are targets only are never read. Fine-tuning keeps the groups of the model that it
    starts from; users may move between them.
    """

    Config = GroupGanConfig
    architecture = (
        "groups",
        "vae",
        "gan",
        "live",
        "width",
        "content_width",
        "hidden",
        "latent",
    )
    search_space: ClassVar = {
        "learning_rate": {"low": 0.0005, "high": 0.01, "log": True},
        "beta": {"low": 0.02, "high": 1.0, "log": True},
        "gan_weight": {"low": 0.01, "high": 1.0, "log": True},
        "vector_share": {"low": 0.0, "high": 1.0},
        "adversarial_epsilon": [0.0, 0.1, 0.3],
    }
    regularisation: ClassVar = {"beta": ["x0.25"]}

    _network: GroupGanNetwork
    _groups: TasteGroups
    live: LiveTastes | None = None
    """Moves users' and groups' vectors with events while the model serves; None: they stay."""

    def check_fits(self, shape: DataShape) -> None:
        """Refuse a catalogue whose batches of users × items do not fit in memory."""
        config = self.config
        weights = 3 * config.hidden + 2 * (config.width + config.critic_hidden)
        check_memory(
            self.section(),
            self._device,
            shape.n_items,
            learnt=weights,
            averaged=weights,
            batch=_NUMBERS_AT_ONCE * config.batch_size,
            instead=LARGE_CATALOGUES,
        )

    def _fit(self, data: TrainingData) -> None:
        self.check_fits(data.shape)
        super()._fit(data)
        self._groups = describe(
            self.memberships(data.histories), data.histories, self.items, data.items, self.n_groups
        )

    @property
    def n_groups(self) -> int:
        """The number of groups; 0 where there are none."""
        return int(self._network.n_groups)

    def _build(self) -> GroupGanNetwork:
        return GroupGanNetwork(len(self.items), self.config)

    def _initialise(self, data: TrainingData) -> None:
        super()._initialise(data)
        if self.config.content:
            found = content_vectors(data.items, self.items, self.config.content_width)
            self._network.features.content.copy_(torch.from_numpy(found))

    def _losses(self) -> Sequence[str]:
        return ["loss", "features", "profiles", "kl", "lists", "next_item", "critic_leads"]

    def _descend(self, data: TrainingData) -> Iterator[torch.Tensor]:
        config, network = self.config, copy.deepcopy(self._network).train()
        critic = ListCritic(len(self.items), config.width, config.critic_hidden).to(self._device)
        optimisers = [
            torch.optim.AdamW(
                one.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
            )
            for one in (network, critic)
        ]
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimisers[0], lambda step: max(0.1, 1 - step / config.steps)
        )
        profiles = ProfileBatches(data.histories, self._device)
        windows = Windows(data.histories, config.max_length, self._device)
        drawn = windows.draw(max(1, config.batch_size // 8), config.steps, config.ahead)
        batches = profiles.batches(config.batch_size, config.steps, config.truncate)
        again = {max(1, int(share * config.steps)) for share in _REGROUPINGS}
        adversary = self._adversary(network.lookup, softmax=True)
        for step, (batch, window) in enumerate(zip(batches, drawn, strict=True), start=1):
            if step in again and data.previous is None and config.grouping != "none":
                self._regroup(data)
                network.regroup(self._network.centres[: self.n_groups].cpu().numpy())
            forward = TrainingPass(network, critic, config, batch, window, step)
            loss, losses = adversary.loss(forward)
            _update(optimisers[0], loss, network)
            lead = losses.new_zeros(())
            if network.lists is not None:
                told, lead = forward.critic_loss()
                _update(optimisers[1], told, critic)
            schedule.step()
            move_average(self._network, network, average_share(config.average, step - 1))
            yield torch.cat([losses, lead[None]])

    def _regroup(self, data: TrainingData) -> None:
        """Find the groups of the training users anew, from where the last centres are."""
        network, config = self._network, self.config
        network.eval()
        points, start = self.user_vectors(data.histories), None
        if self.n_groups:
            start = network.centres[: self.n_groups].cpu().numpy()
        numbers = config.numbers if start is None else [self.n_groups]
        if isinstance(data.decided, GroupGan):
            numbers = [data.decided.n_groups]
        found = [
            k_means(points, k, self.seed, start=start, smallest=config.min_group_users)
            for k in numbers
        ]
        if len(found) > 1 and data.cases is not None and not data.cases.is_empty():
            values = [self._suits(one.centres, one.labels, data) for one in found]
            found = [found[int(np.argmax(values))]]
        network.regroup(found[0].centres)
        network.train()

    def _suits(self, centres: np.ndarray, labels: np.ndarray, data: TrainingData) -> float:
        """How well the popular items of their group suit the validation users."""
        assert data.cases is not None
        known = Histories.from_lists(
            data.cases["history"], self.items, user_features=user_features_of(data.cases)
        )
        self._network.regroup(centres)
        return popular_value(labels, self.memberships(known)[0], known, data)

    @torch.inference_mode()
    def user_vectors(self, histories: Histories) -> np.ndarray:
        """The vectors of users in the space of items and groups, float32 (n, width)."""
        network, found = self._network, [np.zeros((0, self.config.width), np.float32)]
        items = network.features.items()
        for batch in _observed(histories).batches(_USERS):
            everything = latest(batch, max(1, int(batch.lengths.max(initial=1))), network.where)
            users = network.features.users_of(everything, items)
            recent = latest(batch, self.config.max_length, network.where)
            found.append(network.moved(users, recent, items).cpu().numpy())
        return np.concatenate(found)

    @torch.no_grad()
    def feature_weights(self) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """What gives a user's vector before the live update: the items' vectors, float32 (n_items,
        width), and weight and bias of both layers that read their sum."""
        features = self._network.features
        layers = tuple(one.cpu().numpy() for one in features.user.state_dict().values())
        return features.items().cpu().numpy(), layers

    def memberships(self, histories: Histories) -> tuple[np.ndarray, np.ndarray]:
        """The group of each user, int64 (n,), and the distance to its centre, float32 (n,).

        A user without a history is in the group nearest to the start; without groups all are in
        group 0.
        """
        points, network = self.user_vectors(histories), self._network
        centres = network.centres[: max(1, self.n_groups)].cpu().numpy()
        if self.live is not None:
            centres = self.live.centres.copy()
        labels = np.empty(len(points), np.int64)
        now = torch.from_numpy(centres).to(network.where)
        for start in range(0, len(points), 512):
            rows = slice(start, start + 512)
            x = self._dense(histories.slice(start, start + 512))
            users = torch.from_numpy(points[rows]).to(network.where)
            if self.n_groups:
                labels[rows] = network.groups_of(users, x, now).cpu().numpy()
            else:
                labels[rows] = 0
        return labels, np.linalg.norm(points - centres[labels], axis=1).astype(np.float32)

    def _dense(self, histories: Histories) -> torch.Tensor:
        seen = _observed(histories).matrix()
        seen.data[:] = 1
        return torch.from_numpy(seen.toarray()).to(self._network.where)

    def _scores(self, histories: Histories) -> np.ndarray:
        n = max(1, self.config.draws)
        noise = torch.zeros(1, self.config.latent)
        if self.config.draws:
            random = rng(self.seed, "noise").standard_normal((n, self.config.latent))
            noise = torch.from_numpy(random).float()
        return self._scored(histories, noise)

    def varied(self, histories: Histories, seed: int) -> np.ndarray:
        """Scores with noise drawn anew for each user: other lists of the same taste, float32 (n,
        n_items)."""
        random = rng(seed, "variety").standard_normal((1, len(histories), self.config.latent))
        return self._scored(histories, torch.from_numpy(random).float())

    def centres(self) -> np.ndarray:
        """The groups' vectors, a copy, float32 (n_groups, width)."""
        return self._network.centres[: self.n_groups].cpu().numpy().copy()

    def group_sizes(self) -> np.ndarray:
        """Training users of each group, int64 (n_groups,)."""
        return self._groups.sizes

    def live_steps(self) -> LiveSteps:
        """What moves a user's vector with one event, see `LiveTastes`."""
        return LiveSteps(self._network)

    @torch.inference_mode()
    def _scored(self, histories: Histories, noise: torch.Tensor) -> np.ndarray:
        network, now = self._network, None
        if self.live is not None:
            now = torch.from_numpy(self.live.centres).to(network.where)
        recent = latest(histories, self.config.max_length, network.where)
        found = network.scores(self._dense(histories), recent, noise.to(network.where), now)
        return found.cpu().numpy()

    def background(self, histories: Histories, targets: np.ndarray) -> Background:
        """Popularity for users without a history, and for others how much more the user's group
        likes the item than all users do."""
        found = super().background(histories, targets)
        shares = self._groups.shares
        if not len(shares):
            return found
        labels, _ = self.memberships(histories)
        lift = shares[labels[:, None], targets] - self.popularity[targets]
        lift[histories.lengths == 0] = 0
        return found | self._groups.background(labels, lift)

    def choices(self) -> dict[str, Any]:
        """The groups: size, typical items and categories, what sets each apart."""
        return {"taste_groups": self._groups.as_json()}

    def _model_state(self) -> dict[str, np.ndarray]:
        return super()._model_state() | self._groups.state()

    def _restore_model(self, state: dict[str, np.ndarray]) -> None:
        self._groups = TasteGroups.of_state(state)
        super()._restore_model(state)


def _update(optimiser: torch.optim.AdamW, loss: torch.Tensor, network: torch.nn.Module) -> None:
    optimiser.zero_grad()
    loss.backward(inputs=list(network.parameters()))
    optimiser.step()


def _observed(histories: Histories) -> Histories:
    """Without entries that are targets only."""
    return histories if histories.observed.all() else histories.keep(histories.observed)
