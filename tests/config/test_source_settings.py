import gc
import weakref

from maskstream import load_config
from maskstream.config.loading import Layer
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings


def min_score(config: Config) -> float:
    return config.detector.min_score


def at_least(score: float) -> Config:
    return load_config(layers=[Layer.of_key("test", "detector.min_score", score)])


def test_a_source_without_settings_of_its_own_has_the_common_ones() -> None:
    common, own = at_least(0.2), at_least(0.9)
    settings = SourceSettings(common, {"gate": own})
    assert (settings.of("gate"), settings.of("yard")) == (own, common)
    assert [min_score(config) for config in settings.all()] == [0.2, 0.9]
    assert SourceSettings.shared(settings) is settings
    assert SourceSettings.shared(own).of("yard") is own


def test_the_same_settings_once_more_are_another_object() -> None:
    """Whoever keeps something of the camera that had them before, such as its last image, must not show it."""
    settings, own = SourceSettings(at_least(0.2)), at_least(0.9)
    settings.set("gate", own)
    before = settings.of("gate")
    settings.remove("gate")
    settings.set("gate", own)
    assert settings.of("gate") == before
    assert settings.of("gate") is not before


def test_what_is_derived_is_computed_once_for_each_configuration() -> None:
    computed: list[float] = []

    def derive(config: Config) -> float:
        computed.append(config.detector.min_score)
        return computed[-1]

    settings = SourceSettings(at_least(0.2))
    assert [settings.derived(source_id, derive) for source_id in ("gate", "yard", "gate")] == [0.2] * 3
    assert settings.derived("gate", min_score) == 0.2
    settings.set("gate", at_least(0.9))
    assert [settings.derived(source_id, derive) for source_id in ("gate", "gate", "yard")] == [0.9, 0.9, 0.2]
    assert computed == [0.2, 0.9]


def test_settings_of_a_removed_source_are_forgotten_with_what_was_derived_from_them() -> None:
    class Large:
        def __init__(self, config: Config) -> None:
            self.config = config

    settings = SourceSettings(at_least(0.2), {"gate": at_least(0.9)})
    derived = weakref.ref(settings.derived("gate", Large))
    assert derived() is not None
    settings.remove("gate")
    settings.remove("never there")
    gc.collect()
    assert derived() is None
    assert settings.of("gate") is settings.common
    assert len(settings.all()) == 1
