"""Describe metrics, and make the families that Prometheus reads."""

from dataclasses import dataclass
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

PREFIX: Final = "maskstream_"


@dataclass(frozen=True)
class Described:
    """The name, meaning and labels of a metric."""

    name: str
    text: str
    labels: tuple[str, ...] = ("camera",)

    def gauge(self) -> GaugeMetricFamily:
        """Return a gauge without samples."""
        return GaugeMetricFamily(PREFIX + self.name, self.text, labels=self.labels)

    def counter(self) -> CounterMetricFamily:
        """Return a counter without samples; its samples are named `NAME_total`."""
        return CounterMetricFamily(PREFIX + self.name, self.text, labels=self.labels)

    def summary(self) -> SummaryMetricFamily:
        """Return a summary without samples."""
        return SummaryMetricFamily(PREFIX + self.name, self.text, labels=self.labels)
