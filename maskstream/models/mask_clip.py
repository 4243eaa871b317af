"""`clip`: a zero-shot classifier of aligned face crops. Text prompts describe the classes; no training is needed.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021); section 3.1.4: prompt ensembles.
The library is optional: `pip install -r requirements-clip.txt`.
"""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch
from safetensors import SafetensorError

from maskstream.errors import ConfigError, ModelError, WeightsError
from maskstream.io.user_folders import expand_home, lend_folders
from maskstream.models.crop_classifier import crops_to_tensor
from maskstream.models.fork_safety import require_unforked
from maskstream.models.graph_classifier import in_chunks
from maskstream.models.options import ClassifierOptions
from maskstream.models.out_of_memory import memory_errors
from maskstream.types import BgrImage, FloatArray

NAME = "clip"
CONNECT_TIMEOUT_S = 10.0

_GIVE_A_FILE: Final = "give a file by --weights FILE or --set clip.weights=FILE"
_HUB_KEYS: Final = {"hf_model_name", "hf_tokenizer_name"}
_LOADING_ERRORS: Final = (
    *(OSError, EOFError, SafetensorError, UnpicklingError),
    *(RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, StopIteration),
)


class ClipClassifier:
    """A `Classifier` that compares the embeddings of crops with those of text prompts."""

    def __init__(self, model: Any, tokenizer: Any, prompts: Mapping[str, Sequence[str]], device: str) -> None:
        """Prepare a loaded model for inference and embed the prompts.

        Args:
            model: A model of open_clip.
            tokenizer: The tokenizer of this model.
            prompts: The texts that describe each class, in the order of the classes.
            device: Device that the model runs on.

        Raises:
            ModelError: The model needs images that are not square.
        """
        self.class_names = tuple(prompts)
        self.input_size_px, mean, std = _preprocessing(model)
        self._device = device
        self._model = model.eval().to(device)
        self._mean = torch.tensor(mean, device=device).view(3, 1, 1)
        self._std = torch.tensor(std, device=device).view(3, 1, 1)
        with torch.inference_mode():
            classes = []  # of each class the normalised mean (D,) of the normalised embeddings of its prompts
            for texts in prompts.values():
                embeddings: torch.Tensor = self._model.encode_text(tokenizer(list(texts)).to(device), normalize=True)
                classes.append(torch.nn.functional.normalize(embeddings.mean(0), dim=0))
            self._logits_per_embedding = self._model.logit_scale.exp() * torch.stack(classes).T

    @memory_errors()
    @torch.inference_mode()
    def classify(self, crops_bgr: Sequence[BgrImage]) -> FloatArray:
        """Return class probabilities (N, C) float32 of N crops (S, S, 3) uint8 BGR, S = `input_size_px`."""
        return in_chunks(self._classify_chunk, crops_bgr, len(self.class_names))

    def _classify_chunk(self, crops_bgr: Sequence[BgrImage]) -> FloatArray:
        images = (crops_to_tensor(crops_bgr, self._device) - self._mean) / self._std
        logits = self._model.encode_image(images, normalize=True) @ self._logits_per_embedding
        probabilities: FloatArray = logits.softmax(1).float().cpu().numpy()
        return probabilities


def _preprocessing(model: Any) -> tuple[int, Sequence[float], Sequence[float]]:
    """Return the side of the images in pixels, mean and standard deviation of RGB in [0, 1]."""
    wanted = model.visual.preprocess_cfg
    sides = {wanted["size"]} if isinstance(wanted["size"], int) else set(wanted["size"])
    if len(sides) != 1:
        raise ModelError(
            f"{NAME}: the model needs images of {wanted['size']} pixels, which are not square; choose another clip.model"
        )
    return sides.pop(), wanted["mean"], wanted["std"]


def load(options: ClassifierOptions) -> ClipClassifier:
    """Return the classifier that `options.clip` describes; `options.weights` overrides its weights.

    Weights are a tag of open_clip, downloaded on first use, or a file with a state dict (`.pt`, `.safetensors`). For a file, the
    model's name must be exact: OpenAI's weights belong to `ViT-B-32-quickgelu`, not to `ViT-B-32`.

    Raises:
        ConfigError: The prompts lack `mask` or `no_mask`.
        ModelError: The library is not installed, the model is not known, or the weights cannot be downloaded.
        WeightsError: The file is missing, damaged or of another model.
    """
    prompts: dict[str, list[str]] = {str(name): texts for name, texts in options.clip.prompts.items()}
    missing = {"mask", "no_mask"} - prompts.keys()
    if missing:
        raise ConfigError(f"clip.prompts: {', '.join(sorted(missing))} is missing; add a text that describes the class")
    lend_folders()
    require_unforked("PyTorch")
    try:
        import open_clip
    except ImportError as error:
        raise ModelError("clip needs the package open_clip_torch; pip install -r requirements-clip.txt") from error
    known, name = open_clip.list_models(), options.clip.model.replace("/", "-")
    if name not in known:
        close = get_close_matches(name, known, n=5, cutoff=0.4) or known[:5]
        raise ModelError(f"clip.model: {options.clip.model!r} is not known to open_clip; similar names: {', '.join(close)}")
    model, tokenizer = _create(open_clip, name, options.weights or options.clip.weights)
    return ClipClassifier(model, tokenizer, prompts, options.device)


def _create(open_clip: ModuleType, name: str, weights: str) -> tuple[Any, Any]:
    """Return the model with its weights, and its tokenizer. Some models need the hub for their tokenizer."""
    path = Path(expand_home(weights))
    is_file = os.path.isfile(path)  # noqa: PTH113 (Path raises where nothing may be looked up)
    if not is_file and not open_clip.pretrained.is_pretrained_cfg(name, weights):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise WeightsError(f"{weights}: no such file, and no tag of open_clip for {name} (tags: {tags}); {_GIVE_A_FILE}")
    needs_hub = not is_file or _HUB_KEYS & open_clip.get_model_config(name)["text_cfg"].keys()
    with _quiet(), _hub_with_timeout() if needs_hub else nullcontext("") as obstacle:
        model = _from_file(open_clip, name, path) if is_file else _from_hub(open_clip, name, weights, obstacle)
        try:
            return model, open_clip.get_tokenizer(name)
        except (ImportError, *_LOADING_ERRORS) as error:
            raise ModelError(
                f"{NAME}: no tokenizer for {name} ({obstacle or ' '.join(str(error).split()):.160}); choose another clip.model"
            ) from error


def _from_file(open_clip: ModuleType, name: str, path: Path) -> Any:
    try:
        return open_clip.create_model(
            name, pretrained=str(path.absolute()), weights_only=True
        )  # absolute: open_clip takes a bare name as a tag
    except _LOADING_ERRORS as error:
        # the first tensor name that differs, or the type of the error: PyTorch's text for damaged files does not help
        difference = str(error).splitlines()[1:2] if "state_dict" in str(error) else []
        reason = " ".join(difference).strip()[:160] or type(error).__name__
        raise WeightsError(f"{path}: damaged, or not the state dict of a {name} ({reason}); choose matching weights") from error


def _from_hub(open_clip: ModuleType, name: str, tag: str, obstacle: str) -> Any:
    quick_gelu = open_clip.pretrained.get_pretrained_cfg(name, tag).get("quick_gelu", False)
    try:
        return open_clip.create_model(name, pretrained=tag, weights_only=True, force_quick_gelu=quick_gelu)
    except (ImportError, *_LOADING_ERRORS) as error:
        reason = obstacle or " ".join(str(error).split())
        raise ModelError(f"{NAME}: cannot fetch {tag} of {name} ({reason:.160}); {_GIVE_A_FILE}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence `logging` and warnings: open_clip and PyTorch log an error before they raise it."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"(torch|open_clip)\b")
        try:
            yield
        finally:
            logging.disable(before)


@contextmanager
def _hub_with_timeout() -> Iterator[str]:
    """Use the local cache alone, unless the hub answers within `CONNECT_TIMEOUT_S`; its client would retry for minutes.

    Yields:
        Why the hub is not available; empty where it answers.
    """
    from huggingface_hub import constants

    offline_before, silent_before = constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_TELEMETRY
    obstacle = "HF_HUB_OFFLINE is set" if offline_before else _obstacle(constants.ENDPOINT)
    constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_TELEMETRY = bool(obstacle), True
    try:
        yield obstacle
    finally:
        constants.HF_HUB_OFFLINE, constants.HF_HUB_DISABLE_TELEMETRY = offline_before, silent_before


def _obstacle(url: str) -> str:
    try:
        with urlopen(Request(url, method="HEAD"), timeout=CONNECT_TIMEOUT_S):  # noqa: S310 (the hub's address)
            return ""
    except HTTPError:
        return ""  # the hub answers
    except OSError as error:
        return f"{url}: {getattr(error, 'reason', None) or error}"
