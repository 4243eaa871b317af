"""The page of an archive, read as text and in a browser."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from maskstream.fleet import archive_report
from maskstream.fleet.archive_report import ArchiveReport, common_folder
from maskstream.fleet.archive_results import PLOT, VIDEO, ArchiveTotals, FailedJob, MergedJob, result_folder
from maskstream.fleet.merge import PAGE, merge
from maskstream.fleet.quantities import duration, plural, size
from maskstream.types import Label
from tests.fleet.results import BROKEN, QUARANTINED, commit

HOSTILE = "nas/lab/<script>throw 'escaped'<|script>\"'&.mp4"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders and five files; one has a video, one has a name that is a script."""
    folder = tmp_path_factory.mktemp("archive")
    jobs = [
        commit(folder, "nas/door/a.mp4", [Label.NO_MASK], 10),
        commit(folder, "nas/door/b.mp4", [Label.MASK, Label.NO_MASK], 5),
        commit(folder, "nas/door/none.mp4", [], 3),
        commit(folder, HOSTILE, [Label.MASK], 5),
        commit(folder, f"nas/lab/{'very-long-name-' * 12}.mp4", [Label.MASK, Label.INCORRECT], 2),
    ]
    for name in (PLOT, VIDEO):
        (result_folder(folder, jobs[1].job_id) / name).touch()
    merge(folder, jobs, [BROKEN, QUARANTINED])
    return folder


def words(page: Path) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8").split("<body>")[1]).split())


def test_the_first_screen_is_in_plain_words(archive: Path) -> None:
    first_screen = words(archive / PAGE).split("Folders")[0]
    assert "People wore a mask 41% of the time 5 files in nas/, 24.0 s of video." in first_screen
    assert "mask 11.4 s no mask 14.6 s incorrect 1.8 s unknown 0.0 s" in first_screen
    assert "files without a result 2 why" in first_screen


def test_rows_have_the_figures_and_links_of_their_files(archive: Path) -> None:
    page = (archive / PAGE).read_text(encoding="utf-8")
    folders, files = (part.split("</table>")[0] for part in page.split("<tbody>")[1:])
    assert re.findall(r'<th scope="row">([^<]+)', folders) == ["door/", "lab/"]
    assert re.findall(r'<th scope="row" data-sort="[^"]*">([^<]+)', files)[:3] == ["door/a.mp4", "door/b.mp4", "door/none.mp4"]
    links = re.findall(r'<a href="([^"]+)">(\w+)</a>', files)
    assert [text for _, text in links] == ["records", "records", "plot", "video", "records", "records", "records"]
    assert [target for target, _ in links if not (archive / target).exists()] == []


def test_files_without_a_result_say_why(archive: Path) -> None:
    failures = words(archive / PAGE).split("Quarantined: the file ended its worker twice.")[1]
    assert "broken.mp4 failed: no video; check the file" in failures
    assert "kills.mp4 quarantined: ended its worker twice Fatal Python error: Segmentation fault" in failures


def test_names_are_no_markup_and_nothing_comes_from_outside(archive: Path) -> None:
    page = (archive / PAGE).read_text(encoding="utf-8")
    assert page.count("<script") == 1
    assert "&lt;script&gt;throw &#39;escaped&#39;" in page
    assert "://" not in page
    assert re.findall(r"@import|url\(|\ssrc=", page) == []


def test_without_people_there_is_no_share(tmp_path: Path) -> None:
    merge(tmp_path, [commit(tmp_path, "a.mp4", []), commit(tmp_path, "b.mp4", [Label.UNKNOWN])], [])
    page = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert "No person with a known label in 2 files" in page
    assert "Files without a result</h2>" not in page
    assert "None" not in page
    assert '<td class="share" data-sort=""><span>–</span></td>' in page


def totals_of(seconds: float) -> ArchiveTotals:
    totals = ArchiveTotals(files=1)
    totals.person_s[Label.NO_MASK] = seconds
    return totals


def test_of_too_many_files_the_page_shows_the_longest_without_a_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, most in (("MOST_FILES", 3), ("MOST_FOLDERS", 2), ("MOST_FAILURES", 1)):
        monkeypatch.setattr(archive_report, limit, most)
    seconds = [5, 1, 7, 7, 0, 6, 7]
    jobs = [MergedJob(f"{number:064x}", f"nas/{number}/x.mp4", 1) for number in range(len(seconds))]
    report, sums = ArchiveReport([job.path for job in jobs]), ArchiveTotals()
    for job, each in zip(jobs, map(totals_of, seconds), strict=True):
        report.add(job, each)
        sums.add(each)
    sums.failed = 2
    page = report.page(tmp_path, sums, [FailedJob("nas/e.mp4", "failed", "e"), FailedJob("nas/f.mp4", "failed", "f")]).decode()
    assert re.findall(r"The .* of .* with the longest time without a mask", page) == [
        "The 2 of 7 folders with the longest time without a mask",
        "The 3 of 7 files with the longest time without a mask",
    ]
    assert re.findall(r'<th scope="row"[^>]*>([^<]+)', page) == ["2/", "3/", "2/x.mp4", "3/x.mp4", "6/x.mp4"]
    assert "The first 1 file of 2" in page
    assert "f.mp4" not in page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_page_without_complaint_and_sorts_it(
    archive: Path, system_tool: Callable[[str], str], width: int, scheme: Any
) -> None:
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=system_tool("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((archive / PAGE).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == width, "the page scrolls sideways"
        files = page.locator("section[aria-labelledby=h-files] table")
        files.locator("thead button", has_text="time without").click()
        files.locator("thead button", has_text="time without").click()
        assert files.locator("tbody th").first.inner_text().startswith("door/a.mp4")
        assert complaints == []
        browser.close()


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        ([], ""),
        (["a.mp4"], ""),
        (["nas/a.mp4"], "nas/"),
        (["nas/door/a.mp4", "nas/lab/b.mp4", "nas/c.mp4"], "nas/"),
        (["/nas/a.mp4", "/nas/a/b.mp4"], "/nas/"),
        (["/nas/a.mp4", "/srv/b.mp4"], ""),
        (["nas-1/a.mp4", "nas/b.mp4"], ""),
        (["/nas/a.mp4", "nas/b.mp4"], ""),
    ],
)
def test_the_folder_that_contains_all(paths: list[str], folder: str) -> None:
    assert common_folder(paths) == folder
    assert all(path.startswith(folder) for path in paths)


def test_quantities_in_words() -> None:
    assert [duration(seconds) for seconds in (0, 59.94, 59.96, 3599.6, 3600, 86_400 * 50 + 119)] == [
        *("0.0 s", "59.9 s", "1 min 0 s", "1 h 0 min", "1 h 0 min", "1,200 h 2 min")
    ]
    assert [size(count) for count in (0, 999, 1e6, 2.34e9, 5e12)] == ["0.0 kB", "1.0 kB", "1.0 MB", "2.3 GB", "5.0 TB"]
    assert [plural(1, "file"), plural(1240, "file")] == ["1 file", "1,240 files"]
