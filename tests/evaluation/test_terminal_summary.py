import io
from dataclasses import replace

import pytest
from rich.console import Console

from maskstream.evaluation.metrics_json import Metrics
from maskstream.evaluation.terminal_summary import print_summary
from tests.evaluation.made import empty_metrics, full_metrics, poor_metrics


def printed(metrics: Metrics, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding, write_through=True) as file:
        print_summary(metrics, Console(file=file, width=80))
        return raw.getvalue().decode(encoding)


def test_both_protocols_stand_side_by_side() -> None:
    lines = printed(full_metrics()).splitlines()
    assert lines[0].split("IoU") == ["%, with 95% range      ", " 0.30      ", " 0.50    paper 0.30 "]
    row = next(line for line in lines if line.startswith("found + right "))
    assert row.split()[3] == "91.2"
    assert row.split()[-2] == "97.7"
    assert "1,240 faces, 3 problems" in lines[-1]
    assert any("mask 93.8, no_mask 92.1, mean 93.0" in line for line in lines)


def test_the_reference_iou_is_shown_too_and_all_fits() -> None:
    metrics = full_metrics()
    lines = printed(replace(metrics, settings=replace(metrics.settings, iou=0.9))).splitlines()
    assert "IoU 0.90" in lines[0]
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    assert len(lines) == 2 + 11 + 3, "a line was broken"


@pytest.mark.parametrize("metrics", [poor_metrics(), empty_metrics()], ids=["poor", "empty"])
def test_what_is_not_defined_is_a_dash(metrics: Metrics) -> None:
    assert next(line for line in printed(metrics).splitlines() if line.startswith("recall")).split() == ["recall", "-", "-", "-"]


def test_plain_where_it_is_no_terminal() -> None:
    assert "\x1b" not in printed(full_metrics())
    assert printed(full_metrics(), "ascii").isascii()
