"""Load the system that an evaluation measures: our models, an Ultralytics detector, or CLIP."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from maskstream import __version__
from maskstream.config.loading import Layer, refine
from maskstream.config.schema import Config
from maskstream.evaluation.analysis import System
from maskstream.evaluation.metrics_json import SystemInfo
from maskstream.evaluation.yolo_detector import load_yolo
from maskstream.inference.pipeline import build_analyzer
from maskstream.models.classifier_choice import pick_classifier
from maskstream.models.devices import pick_device
from maskstream.models.weights_path import weights_path

SystemName = Literal["maskstream", "yolo", "clip"]


def build_system(name: SystemName, weights: str | None, config: Config) -> tuple[System, SystemInfo]:
    """Load the models of a system.

    Args:
        name: `--system`.
        weights: `--weights`, for yolo and clip.
        config: Configuration of the models.

    Raises:
        MaskStreamError: A model cannot be loaded.
    """
    device = pick_device(config.device)
    if name == "yolo":
        path = Path(weights or "")
        yolo = load_yolo(
            str(path),
            device,
            min_score=config.detector.min_score,
            max_faces=config.detector.max_faces,
            meanings=config.evaluation.labels,
            incorrect_as=config.classifier.incorrect_as,
        )
        return yolo, _system_info("yolo", f"Ultralytics {path.name}", device, [path])
    if name == "clip":
        config = refine(config, Layer.of_key("--system clip", "classifier", {"name": "clip", "weights": weights}))
    chosen = config.classifier
    classifier = pick_classifier(chosen.name, chosen.weights, device), chosen.weights
    if chosen.name == "clip":
        classifier = f"clip {config.clip.model}", chosen.weights or config.clip.weights
    named = [(config.detector.name, config.detector.weights), classifier]
    files = [weights_path(file, f"{model}.safetensors") for model, file in named]
    description = " and ".join(f"{model} ({file})" if file else model for model, file in named)
    return build_analyzer(config), _system_info(name, description, device, files)


def _system_info(name: str, description: str, device: object, files: list[Path]) -> SystemInfo:
    sums = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}
    return SystemInfo(name=name, description=description, weights=sums, device=str(device))


def fingerprint_of(info: Mapping[str, Any], config: Config) -> str:
    """Return a hash of all settings that change predictions."""
    settings = config.model_dump(
        include={"detector": True, "classifier": True, "align": True, "clip": True, "evaluation": {"labels"}}
    )
    text = json.dumps([__version__, info, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
