"""Draw training crops: a class by its share, then a crop by the weights of its folder and its name."""

import re

import numpy as np
from numpy.typing import NDArray

from maskstream.errors import ConfigError
from maskstream.training.crop_set import NO_CLASS, CropSet
from maskstream.training.crops import UNLABELLED
from maskstream.training.recipe import ClassifierRecipe


class CropSampler:
    """Draws the indices of training crops."""

    def __init__(self, crops: CropSet, recipe: ClassifierRecipe) -> None:
        """Compute how often each crop is drawn.

        Raises:
            ConfigError: A class that is to be drawn has no crops, or all of its crops have the weight 0.
        """
        groups = [*enumerate(recipe.classes), (NO_CLASS, UNLABELLED)]
        weights = _weights(crops, recipe)
        shares, self._members, self._cumulative = [], [], []
        for label, name in groups:
            members = np.flatnonzero(crops.labels == label)
            share = recipe.class_shares.get(name, 1.0)
            if name == UNLABELLED and not len(members):  # they are read with a teacher only
                share = 0.0
            total = weights[members].sum()
            if share > 0 and not len(members):
                raise ConfigError(f"no crops of the class {name}; add some, or train without them: --set class_shares.{name}=0")
            if share > 0 and total == 0:
                raise ConfigError(f"folder_shares and crop_weights give all crops of {name} the weight 0; raise one of them")
            shares.append(share)
            self._members.append(members)
            self._cumulative.append(np.cumsum(weights[members]) / max(total, 1e-9))
        self._shares = np.array(shares) / sum(shares)

    def draw(self, rng: np.random.Generator) -> int:
        """Return the index of a crop."""
        group = rng.choice(len(self._shares), p=self._shares)
        place = int(np.searchsorted(self._cumulative[group], rng.random(), side="right"))
        return int(self._members[group][min(place, len(self._members[group]) - 1)])


def _weights(crops: CropSet, recipe: ClassifierRecipe) -> NDArray[np.float64]:
    """Return the sampling weight of each crop (N,); the first pattern of `crop_weights` that matches its name counts."""
    patterns = [(re.compile(pattern), weight) for pattern, weight in recipe.crop_weights.items()]
    weights = np.ones(len(crops.paths))
    for index, path in enumerate(crops.paths):
        matching = [weight for pattern, weight in patterns if pattern.search(path.name)]
        weights[index] = recipe.folder_shares.get(path.parent.name, 1.0) * (matching[0] if matching else 1.0)
    return weights
