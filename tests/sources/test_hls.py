from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from threading import Thread
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskstream.errors import SourceRefused
from maskstream.sources import UrlSource
from maskstream.sources.hls import Variant, best_variant, read_playlist
from maskstream.types import Frame
from tests.receivers import wait_until
from tests.servers import Answer, Request, content, http_server, status
from tests.slowness import LONGEST_S, promised, slowness
from tests.sources.test_url import assert_whole, loss_of, network
from tests.video_files import every, grey, write_video

SIZE = (160, 120)
SEGMENT_S = 0.4
FRAMES = 10
"""Per segment."""
HEAD = "#EXTM3U\n#EXT-X-VERSION:3\n"
TYPE = "application/vnd.apple.mpegurl"


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Eight segments of one stream."""
    return segments_of(tmp_path_factory.mktemp("segments"), 8)


def segments_of(folder: Path, count: int, *, start_s: float = 0.0, first: int = 0, size: tuple[int, int] = SIZE) -> list[bytes]:
    """Return segments of a stream whose frames are `grey` from number `first` on."""
    folder.mkdir(exist_ok=True)
    write_video(
        folder / "s.m3u8",
        every(0.04, count * FRAMES, start_s),
        size=size,
        image=lambda index: grey(first + index, size),
        options={"g": str(FRAMES), "sc_threshold": "0"},
        container_options={"hls_time": str(SEGMENT_S), "hls_list_size": "0"},
    )
    return [(folder / f"s{number}.ts").read_bytes() for number in range(count)]


class LiveList:
    """A server that adds a segment to its playlist as time passes, and removes the oldest."""

    def __init__(self, segments: Sequence[bytes], *, most: int | None = None, ends: bool = True, shown: int = 4) -> None:
        self.asked: list[str] = []
        """Paths, in order."""
        self._segments = segments
        self._most = len(segments) if most is None else most
        self._ends = ends
        self._shown = shown
        self._began_s: float | None = None
        self.refuses: dict[int, Answer] = {}
        """Answers in place of the playlist, by the number of the request from 0 on."""
        self.breaks: dict[int, str] = {}
        """Lines before a segment."""

    def answers(self) -> dict[str, Answer]:
        pieces = {f"/s{number}.ts": content(data, "video/mp2t") for number, data in enumerate(self._segments)}
        return {path: self._noted(answer) for path, answer in ({"/live.m3u8": self._list} | pieces).items()}

    def _noted(self, answer: Answer) -> Answer:
        def noted(request: Request) -> None:
            self.asked.append(request.path)
            answer(request)

        return noted

    def _list(self, request: Request) -> None:
        self._began_s = self._began_s or monotonic()
        if refusal := self.refuses.get(self.asked.count("/live.m3u8") - 1):
            refusal(request)
            return
        there = min(self._most, 2 + int((monotonic() - self._began_s) / SEGMENT_S))
        first = max(0, min(there - self._shown, self._next_to_ask(there)))
        lines = [f"{HEAD}#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{first}"]
        lines += [f"{self.breaks.get(number, '')}#EXTINF:{SEGMENT_S},\ns{number}.ts" for number in range(first, there)]
        end = "#EXT-X-ENDLIST\n" if self._ends and there == len(self._segments) else ""
        text = "\n".join(lines) + "\n" + end
        request.start(200, Content_Type=TYPE, Content_Length=len(text))
        request.wfile.write(text.encode())

    def _next_to_ask(self, there: int) -> int:
        """Return the first segment that was not asked for: a client on a busy machine may come late, and must lose none."""
        return next((number for number in range(there) if f"/s{number}.ts" not in self.asked), there)


def test_frames_of_a_live_playlist_are_even_until_its_end(segments: list[bytes]) -> None:
    """Segments are twice as long as `read_timeout_s`, and it is never lost."""
    live = LiveList(segments[:6])
    with http_server(live.answers()) as address, closing(UrlSource(f"{address}/live.m3u8", network(read_s=0.2))) as source:
        frames = list(source)
        assert (source.info.live, source.is_over) == (True, True)
    assert_whole(frames)
    assert len(frames) == 6 * FRAMES
    assert [after.time_s - before.time_s for before, after in pairwise(frames)] == pytest.approx(
        [0.04] * (6 * FRAMES - 1), abs=2e-3
    )
    handed_out_s = frames[2 * FRAMES - 1].captured_at_s - frames[0].captured_at_s
    assert handed_out_s > (2 * FRAMES - 1) * 0.04 / 1.3  # both were there at once
    assert all(frame.wall_time for frame in frames)
    assert (frames[-1].wall_time - frames[0].wall_time).total_seconds() == pytest.approx(
        frames[-1].captured_at_s - frames[0].captured_at_s, abs=0.05
    )


def test_a_playlist_that_is_unavailable_for_a_moment_is_requested_again(segments: list[bytes]) -> None:
    """The server is overloaded, or is writing it: refused, empty and reset once each."""
    live = LiveList(segments[:5])
    live.refuses = {1: status(503), 2: content(b"", TYPE), 3: lambda request: request.end("reset"), 5: status(404)}
    with http_server(live.answers()) as address, closing(UrlSource(f"{address}/live.m3u8", network())) as source:
        frames = list(source)
        assert source.is_over
    assert_whole(frames)
    assert len(frames) == 5 * FRAMES


def test_it_begins_near_the_present(segments: list[bytes]) -> None:
    live = LiveList(segments, most=6, shown=8)
    live._began_s = monotonic() - 4 * SEGMENT_S  # six are there
    with http_server(live.answers()) as address, closing(UrlSource(f"{address}/live.m3u8", network())) as source:
        next(iter(source))
    pieces = [path for path in live.asked if path.endswith(".ts")]
    assert pieces[0] == "/s4.ts"


@pytest.mark.slow
def test_a_silent_playlist_is_lost_after_two_more_segments(segments: list[bytes]) -> None:
    live = LiveList(segments, most=3)
    with http_server(live.answers()) as address:
        source = UrlSource(f"{address}/live.m3u8", network(read_s=0.3))
        with closing(source):
            reason, frames, waited_s = loss_of(source)
    assert not source.is_over
    assert frames > 3 * FRAMES - 6  # the last ones wait in the decoder for those that they are shown before
    assert "no frame within 2.3 s" in reason
    assert waited_s < 2.3 + 1.0 * slowness()


def test_a_discontinuity_is_no_gap(tmp_path: Path) -> None:
    """Timestamps start again with a large offset at the third segment."""
    before = segments_of(tmp_path / "before", 2)
    live = LiveList(before + segments_of(tmp_path / "after", 2, start_s=5000, first=2 * FRAMES))
    live.breaks[2] = "#EXT-X-DISCONTINUITY\n"
    with http_server(live.answers()) as address, closing(UrlSource(f"{address}/live.m3u8", network())) as source:
        frames = list(source)
    assert len(frames) >= 4 * FRAMES - 1  # what is cut off may be damaged
    steps_s = [after.time_s - before.time_s for before, after in pairwise(frames)]
    assert min(steps_s) > 0
    assert max(steps_s) < 0.1 * slowness()


def test_close_does_not_wait_for_a_frame_to_be_due(tmp_path: Path) -> None:
    path = write_video(tmp_path / "slow.ts", [*every(0.04, 10), *every(0.04, 10, 8.0)], size=SIZE)
    text = f"{HEAD}#EXT-X-TARGETDURATION:24\n#EXTINF:24,\nslow.ts\n"
    answers = {"/live.m3u8": content(text.encode(), TYPE), "/slow.ts": content(path.read_bytes(), "video/mp2t")}
    with http_server(answers) as address:
        source = UrlSource(f"{address}/live.m3u8", network())
        frames: list[Frame] = []
        reader = Thread(target=lambda: frames.extend(source))
        reader.start()
        wait_until(lambda: len(frames) == 10)
        with promised(0.5):
            Thread(target=source.close).start()
            reader.join(LONGEST_S)
    assert len(frames) == 10


def test_frames_of_a_broadcast_in_bursts_are_even(segments: list[bytes]) -> None:
    """At first, twice the duration of a burst passes between two bursts. The end is that of a connection."""

    def answer(request: Request) -> None:
        request.start(200, Content_Type="video/mp2t")
        for first in range(0, 6, 2):
            request.wfile.write(b"".join(segments[first : first + 2]))
            if request.stopped.wait(2 * SEGMENT_S):
                return

    with http_server({"/tv": answer}) as address, closing(UrlSource(f"{address}/tv", network(read_s=2))) as source:
        frames = list(source)
        assert (source.info.live, source.is_over) == (True, False)
    assert_whole(frames)
    assert len(frames) == 6 * FRAMES
    for first in range(0, 6 * FRAMES, 2 * FRAMES):  # each burst in its own time
        burst = frames[first : first + 2 * FRAMES]
        assert burst[-1].captured_at_s - burst[0].captured_at_s > (2 * FRAMES - 1) * 0.04 / 1.3
    assert frames[-1].time_s - frames[0].time_s == pytest.approx((6 * FRAMES - 1) * 0.04, abs=2e-3)


def complete(segments: Sequence[bytes], *, suffix: str = ".ts", name: str = "s") -> dict[str, Answer]:
    """Return the answers of a server that has a complete playlist /NAME.m3u8."""
    lines = "".join(f"#EXTINF:{SEGMENT_S},\n{name}{number}{suffix}\n" for number in range(len(segments)))
    text = f"{HEAD}#EXT-X-TARGETDURATION:1\n{lines}#EXT-X-ENDLIST\n"
    pieces = {f"/{name}{number}{suffix}".partition("?")[0]: content(data, "video/mp2t") for number, data in enumerate(segments)}
    return pieces | {f"/{name}.m3u8": content(text.encode(), TYPE)}


def read(url: str) -> list[Frame]:
    with closing(UrlSource(url, network())) as source:
        assert not source.info.live
        return list(source)


@pytest.mark.parametrize("suffix", [".bin", "", ".php?x=1&token=a%2Fb", ".jpg", ".ts.mp3"])
def test_segments_may_be_called_anything(segments: list[bytes], suffix: str) -> None:
    with http_server(complete(segments[:3], suffix=suffix)) as address:
        frames = read(f"{address}/s.m3u8")
    assert_whole(frames)
    assert len(frames) == 3 * FRAMES


def test_tokens_of_a_playlist_and_its_segments_are_kept(segments: list[bytes]) -> None:
    """The server answers only requests with the token that is in the URLs."""

    def guarded(answer: Answer) -> Answer:
        return lambda request: (answer if request.path.endswith("?token=a%2Fb") else status(403))(request)

    inner = complete(segments[:2], suffix=".ts?token=a%2Fb")
    master = f"{HEAD}#EXT-X-STREAM-INF:BANDWIDTH=9\nlow/../s.m3u8?token=a%2Fb\n"
    answers = {path: guarded(answer) for path, answer in inner.items()} | {"/master.m3u8": content(master.encode(), TYPE)}
    with http_server(answers) as address:
        assert len(read(f"{address}/master.m3u8")) == 2 * FRAMES


@pytest.mark.parametrize("start", ["/short", "/twice", "/master.m3u8"])
def test_urls_in_a_playlist_are_relative_to_the_redirected_url(segments: list[bytes], start: str) -> None:
    inner = {f"/deep/er{path}": answer for path, answer in complete(segments[:2]).items()}
    moved = {"/short": status(302, Location="/deep/er/s.m3u8?t=1"), "/twice": status(301, Location="short")}
    master = f"{HEAD}#EXT-X-STREAM-INF:BANDWIDTH=9\ntwice\n"
    with http_server(inner | moved | {"/master.m3u8": content(master.encode(), TYPE)}) as address:
        assert len(read(address + start)) == 2 * FRAMES


def test_parts_of_one_file_are_segments(segments: list[bytes]) -> None:
    first, lines = 0, ""
    for data in segments[:3]:
        lines += f"#EXTINF:{SEGMENT_S},\n#EXT-X-BYTERANGE:{len(data)}@{first}\nall.ts\n"
        first += len(data)
    text = f"{HEAD.replace('VERSION:3', 'VERSION:4')}#EXT-X-TARGETDURATION:1\n{lines}#EXT-X-ENDLIST\n"
    answers = {"/all.m3u8": content(text.encode(), TYPE), "/all.ts": content(b"".join(segments[:3]), "video/mp2t")}
    with http_server(answers) as address:
        frames = read(f"{address}/all.m3u8")
    assert_whole(frames)
    assert len(frames) == 3 * FRAMES


def test_only_the_best_variant_of_a_master_playlist_is_requested(segments: list[bytes], tmp_path: Path) -> None:
    small = segments_of(tmp_path, 1, size=(80, 60))
    master = f"""{HEAD}
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="x",URI="sound.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=900000,CODECS="mp4a.40.2",AUDIO="a"
sound.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=300000,RESOLUTION=80x60,CODECS="avc1.42c00d,mp4a.40.2",AUDIO="a"
small.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=200000,RESOLUTION=160x120,CODECS="avc1.42c00d,mp4a.40.2",AUDIO="a"
best.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=9000000,RESOLUTION=1920x1080,CODECS="avc1.640028"
large.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=10,URI="key.m3u8",RESOLUTION=160x120
"""
    asked: list[str] = []

    def noted(answer: Answer) -> Answer:
        def noting(request: Request) -> None:
            asked.append(request.path)
            answer(request)

        return noting

    lists = complete(segments[:2], name="best") | complete(small, name="small") | complete(segments[:1], name="large")
    answers = {
        path: noted(answer)
        for path, answer in (lists | {"/m/master.m3u8": content(master.replace("best", "../best").encode(), TYPE)}).items()
    }
    with http_server(answers) as address, closing(UrlSource(f"{address}/m/master.m3u8", network(max_megapixels=1))) as source:
        frames = list(source)
    assert {(frame.width, frame.height) for frame in frames} == {SIZE}
    assert len(frames) == 2 * FRAMES
    assert set(asked) == {"/m/master.m3u8", "/best.m3u8", "/best0.ts", "/best1.ts"}
    assert len(asked) == 4


def test_a_master_playlist_of_audio_is_refused() -> None:
    text = f'{HEAD}#EXT-X-STREAM-INF:BANDWIDTH=9,CODECS="mp4a.40.2"\nsound.m3u8\n'
    with (
        http_server({"/m.m3u8": content(text.encode(), TYPE)}) as address,
        pytest.raises(SourceRefused, match="no video: all variants"),
    ):
        UrlSource(f"{address}/m.m3u8", network())


def test_a_dash_manifest_is_refused() -> None:
    text = b'<?xml version="1.0" encoding="utf-8"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="dynamic"></MPD>'
    answers = {"/live.mpd": content(text, "application/dash+xml")}
    with (
        http_server(answers) as address,
        pytest.raises(SourceRefused, match="DASH manifest, which is not supported; give the URL of its HLS"),
    ):
        UrlSource(f"{address}/live.mpd", network())


def variant(name: str, pixels: int | None = None, bandwidth: int = 0, *, has_video: bool = True) -> Variant:
    return Variant(name, bandwidth, pixels, has_video)


@pytest.mark.parametrize(
    ("variants", "best"),
    [
        ([variant("a", 100, 9), variant("b", 400, 1), variant("c", 900, 5)], "b"),
        ([variant("a", 400, 1), variant("b", 400, 2), variant("c", 400, 1)], "b"),
        ([variant("a", None, 900), variant("b", 100, 1)], "b"),
        ([variant("a", None, 1), variant("b", None, 9), variant("c", None, 5)], "b"),
        ([variant("a", 900), variant("b", 600)], "b"),
        ([variant("a", bandwidth=9, has_video=False), variant("b")], "b"),
        ([variant("a", has_video=False)], None),
        ([], None),
    ],
)
def test_the_best_variant_is_chosen(variants: list[Variant], best: str | None) -> None:
    chosen = best_variant(variants, max_pixels=500)
    assert (chosen and chosen.url) == best


def test_parsing_a_playlist() -> None:
    text = f"{HEAD}#EXT-X-TARGETDURATION:9\n#EXTINF:10.010,title, with, commas\na.ts\n#EXTINF:4\nb.ts\n"
    live, ended = read_playlist(text, "http://h/p/x.m3u8"), read_playlist(text + "#EXT-X-ENDLIST", "http://h/p/x.m3u8")
    assert (live.variants, live.longest_s, live.has_ended, live.extra_wait_s) == ((), 10.01, False, 20.02)
    assert (ended.has_ended, ended.extra_wait_s) == (True, 0.0)
    assert read_playlist(f"{HEAD}#EXT-X-TARGETDURATION:99999999\n", "").extra_wait_s == 120
    master = (
        f'{HEAD}#EXT-X-STREAM-INF:BANDWIDTH=x,NAME="a, RESOLUTION=9x9",RESOLUTION=640x360\r\n# comment\r\n../y.m3u8?t=1,2\r\n'
    )
    (only,) = read_playlist(master, "http://u:p@h/p/q/x.m3u8?k=1").variants
    assert only == Variant("http://u:p@h/p/y.m3u8?t=1,2", 0, 640 * 360, has_video=True)


@given(
    lines=st.lists(
        st.sampled_from(
            [
                "#EXT-X-STREAM-INF:",
                "#EXTINF:",
                "#EXT-X-TARGETDURATION:",
                "RESOLUTION=",
                "BANDWIDTH=",
                "CODECS=",
                "\n",
                ",",
                '"',
                "http://[",
                "1e999",
                "9" * 400,
            ]
        )
        | st.text(max_size=9)
    )
)
def test_any_text_can_be_parsed_as_a_playlist(lines: list[str]) -> None:
    playlist = read_playlist(HEAD + "".join(lines), "http://h/x.m3u8")
    best_variant(playlist.variants, 1e6)
    assert 0 <= playlist.extra_wait_s <= 120
