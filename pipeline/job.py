"""A job that is ready to be built: configuration, verified weights, engine and OUTPUT."""

import hashlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.config import JobConfig, load_config
from pipeline.errors import UsageError
from srcnn.degradations import Degradation, check_steps, parse_steps
from srcnn.engines import choose_engine
from srcnn.errors import EngineError, WeightsError
from srcnn.restoration import Restoration
from srcnn.weights import ModelCard, Weights, choose_weights, list_weights, load_weights
from storage.errors import StoreError
from storage.store import OutputStore, read_small
from weights import DIRECTORY

# If no model is named, the first with weights for the options: in evaluate mode SRCNN, whose
# figures are published; in restore mode the best for real photographs.
_PREFERRED = {
    "evaluate": ("srcnn-955", "photo-large"),
    "restore": ("photo-large", "subpixel-large", "srcnn-955"),
}
# Options that change the pixels or metadata of every result.
_OF_IMAGES = (
    "mode", "scale", "kernel", "protocol", "border", "output_format", "quality", "metadata",
)  # fmt: skip
# Options that change the content of shards, but not of images.
_OF_SHARDS = ("image_column", "shards", "figures_in", "on_failure", "skip_above")


@dataclass(frozen=True)
class Job:
    """The input of the graph builder.

    Attributes:
      config: the validated configuration.
      weights: verified weights.
      engine: name of the engine, `auto` resolved.
      store: OUTPUT and the name of the run.
      warnings: for the user, before the run.
      names_fold: whether OUTPUT's file system treats names as equal that differ in case or in the
        composition of their letters.
    """

    config: JobConfig
    weights: Weights
    engine: str
    store: OutputStore
    warnings: tuple[str, ...] = ()
    names_fold: bool = False

    @property
    def restoration(self) -> Restoration:
        """The restoration of every image."""
        c, card = self.config, self.weights.card
        degradation = Degradation(c.protocol, c.scale, c.kernel, parse_steps(c.degrade))
        return Restoration(
            card.architecture, degradation, c.border, card.chroma_taps, c.seed, c.strength
        )

    @property
    def run_directory(self) -> str:
        """The run's directory below OUTPUT."""
        return f"runs/{self.store.run_id}"

    @property
    def fingerprint(self) -> str:
        """Hash of all settings that change the pixels or metadata of results."""
        return _hashed(self._settings())

    @property
    def shard_fingerprint(self) -> str:
        """The fingerprint of shards, whose content depends on further options."""
        figures = ("without",) if self.config.figures_in == "shards" else ()
        return _hashed(self._settings() | self._unlike_defaults((*_OF_SHARDS, *figures)))

    def _settings(self) -> dict[str, Any]:
        config, card = self.config, self.weights.card
        parts: dict[str, Any] = {
            "algorithm": 3,  # raised when the same settings give other pixels
            **{name: getattr(config, name) for name in _OF_IMAGES},
            "weights_sha256": card.sha256,
            "chroma_taps": card.chroma_taps,
        }
        # Later settings count only where they differ from their defaults, so that earlier hashes
        # stay valid.
        if config.degrade != "shrink":
            parts |= {"degrade": config.degrade, "seed": config.seed}
        return parts | self._unlike_defaults(("strength", "fit", "ensemble"))

    def _unlike_defaults(self, names: tuple[str, ...]) -> dict[str, Any]:
        config = self.config
        return {
            name: getattr(config, name)
            for name in names
            if getattr(config, name) != JobConfig.model_fields[name].default
        }


def _hashed(parts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def prepare_job(config: JobConfig) -> Job:
    """Chooses and verifies the weights and names the run. Touches nothing.

    The model card completes options that are not given: kernel and protocol, and for weights that
    are named by file or full name the scale.

    Raises:
      UsageError: there are no such weights, they are damaged, or their network enlarges by another
        scale; the degradation does not shrink by the scale; the engine is not installed.
    """
    try:
        weights = load_weights(config.weights or _choose(config), read_small)
        engine = choose_engine(config.engine)
    except (WeightsError, EngineError, StoreError) as error:
        raise UsageError(str(error)) from None
    config = _completed(config, weights.card)
    _check_scale(config, weights.card)
    _check_chain(config)
    run_id = config.run_id or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    return Job(
        config=config,
        weights=weights,
        engine=engine,
        store=OutputStore(config.output, run_id),
        warnings=tuple(_mismatches(config, weights)),
    )


def _choose(config: JobConfig) -> Path:
    asked = config.model_dump(include={"kernel", "protocol"} & config.model_fields_set)
    models = (config.model,) if config.model else _PREFERRED[config.mode]
    try:
        return choose_weights(DIRECTORY, models, config.scale, **asked)
    except WeightsError:
        if config.scale > 1:
            raise
        cards = list_weights(DIRECTORY).values()
        names = [card.name for card in cards if card.architecture.upscale == 1]
        raise UsageError(
            "scale: 1: needs a model that does not enlarge; choose with --model "
            f"one of: {', '.join(names)}"
        ) from None


def _check_scale(config: JobConfig, card: ModelCard) -> None:
    upscale = card.architecture.upscale
    if card.architecture.sees_small and config.scale != upscale:
        raise UsageError(
            f"scale: {config.scale}: {card.name} enlarges {upscale} times; give --scale {upscale}, "
            "or another --model"
        )


def _check_chain(config: JobConfig) -> None:
    if config.mode == "evaluate":
        try:
            check_steps(parse_steps(config.degrade), config.scale)
        except ValueError as error:
            raise UsageError(f"degrade: {error}") from None


def _completed(config: JobConfig, card: ModelCard) -> JobConfig:
    given = config.model_dump(include=config.model_fields_set)
    open_fields = {"scale", "protocol"} - given.keys()
    given = {"model": card.architecture.name} | given
    if "kernel" not in given and given.get("protocol", card.protocol) == card.protocol:
        open_fields.add("kernel")  # kernels belong to a protocol
    return load_config({name: getattr(card, name) for name in open_fields} | given)


def _mismatches(config: JobConfig, weights: Weights) -> Iterator[str]:
    card = weights.card
    asked = (config.scale, config.kernel, config.protocol)
    meant = (card.scale, card.kernel, card.protocol)
    if config.scale == 1:
        asked, meant = asked[2:], meant[2:]
    if asked != meant:
        yield (
            f"{card.name} was made for {card.degradation}, "
            f"the run is x{config.scale} {config.kernel} ({config.protocol}); results may be worse "
            "than those of a model that fits, see --list_models"
        )
