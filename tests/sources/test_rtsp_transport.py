"""The transport of RTSP, and the number of requests to the camera."""

from collections.abc import Iterator
from contextlib import closing
from itertools import groupby, islice

import pytest

from maskstream.cli.opening import open_source
from maskstream.config.cameras import Camera
from maskstream.config.loading import Layer, load_config, refine
from maskstream.config.schema import Config, NetworkConfig
from maskstream.errors import SourceOpenError
from maskstream.sources import UrlOpener, UrlSource
from maskstream.stream.source_states import SourceStates
from tests.faulty_servers import Client, FaultyServer
from tests.rtsp_camera import RtspCamera, running
from tests.servers import RtspServer, rtsp_server
from tests.slowness import promised, slowness
from tests.video_files import every, grey_index, write_video

SIZE = (160, 120)
DESCRIPTION = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track\r\n"


@pytest.fixture(scope="module")
def camera(rtsp_tools: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtspServer]:
    clip = write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", every(0.04, 50), size=SIZE)
    with rtsp_server(clip) as server:
        yield server


def network(**settings: object) -> NetworkConfig:
    return NetworkConfig.model_validate(load_config().network.model_dump() | {"max_reconnects": 0} | settings)


def soon(seconds: float) -> float:
    """Return a short time to open by which a camera of this machine has answered, however busy it is."""
    return round(seconds * slowness(), 1)


def refusal(url: str, config: NetworkConfig) -> str:
    with pytest.raises(SourceOpenError) as caught:
        UrlSource(url, config)
    return str(caught.value)


class Setup:
    """A camera that describes itself, and answers to SETUP by transport."""

    def __init__(self, tcp: str, udp: str) -> None:
        self._answers = {"tcp": tcp, "udp": udp}
        self.asked: list[str] = []
        """The transport of each SETUP."""

    def __call__(self, client: Client) -> None:
        if client.method == "DESCRIBE":
            kind = ("Content-Type: application/sdp", f"Content-Length: {len(DESCRIPTION)}")
            client.rtsp("200 OK", *kind, body=DESCRIPTION)
        elif client.method == "SETUP":
            transport = "tcp" if "RTP/AVP/TCP" in client.head else "udp"
            self.asked.append(transport)
            asked = next(line for line in client.head.splitlines() if line.startswith("Transport:"))
            client.rtsp(self._answers[transport], "Session: 1", f"{asked};server_port=9-10")
        else:
            client.rtsp("200 OK", "Session: 1")


def test_the_default_is_tcp_and_then_udp(config: Config) -> None:
    assert config.network.transport == "auto"


@pytest.mark.parametrize(("path", "transport", "warns"), [("/tcp", "tcp", False), ("/cam", "tcp", False), ("/udp", "udp", True)])
def test_auto_finds_the_transport_and_remembers_it(
    camera: RtspServer, said: list[str], path: str, transport: str, warns: bool
) -> None:
    opener = UrlOpener(camera.url(path), "cam", network())
    for _ in range(2):
        with closing(opener()) as source:
            assert source.transport == transport
            assert len(list(islice(source, 3))) == 3
    assert said == (["INFO cam: the camera refuses TCP; reading over UDP\n"] if warns else [])


@pytest.mark.parametrize(
    "status", ["461 Unsupported Transport", "400 Bad Request", "406 Not Acceptable", "551 Option not supported"]
)
def test_all_answers_that_refuse_tcp(status: str) -> None:
    setup = Setup(tcp=status, udp=status)
    with FaultyServer(setup) as server:
        refusal(f"rtsp://127.0.0.1:{server.port}/", network())
    assert [transport for transport, _ in groupby(setup.asked)] == ["tcp", "udp"]


def test_a_camera_that_has_neither() -> None:
    with FaultyServer(Setup(*["461 Unsupported Transport"] * 2)) as server:
        assert "the camera does not support this transport" in refusal(f"rtsp://127.0.0.1:{server.port}/", network())


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_transport_that_is_forced_is_the_only_one(transport: str) -> None:
    setup = Setup(*["461 Unsupported Transport"] * 2)
    with FaultyServer(setup) as server:
        reason = refusal(f"rtsp://127.0.0.1:{server.port}/", network(transport=transport))
    assert setup.asked == [transport]
    assert "set network.transport to auto" in reason


@pytest.mark.parametrize(
    ("status", "why"), [("401 Unauthorized", "(401)"), ("403 Forbidden", "(403)"), ("404 Not Found", "(404)")]
)
def test_a_refusal_that_is_not_about_the_transport_causes_one_request(status: str, why: str) -> None:
    def refuse(client: Client) -> None:
        client.rtsp(status, 'WWW-Authenticate: Basic realm="camera"')

    with FaultyServer(refuse) as server:
        assert why in refusal(f"rtsp://me:secret@127.0.0.1:{server.port}/", network())
    assert server.connections == 1


def test_a_camera_that_is_silent_takes_the_time_to_open_once() -> None:
    def silence(client: Client) -> None:
        client.trickle(b"")

    with FaultyServer(silence) as server, promised(1.3):
        assert "no frame within 0.7 s" in refusal(f"rtsp://127.0.0.1:{server.port}/", network(open_timeout_s=0.7))
    assert server.connections == 1


def test_udp_behind_a_firewall_is_reported() -> None:
    limit_s = soon(1)
    with FaultyServer(Setup(tcp="461 Unsupported Transport", udp="200 OK")) as server, promised(1.9 * limit_s):
        said = refusal(f"rtsp://127.0.0.1:{server.port}/", network(open_timeout_s=limit_s))
    assert "the camera refuses TCP, and no data arrives over UDP; check the camera, and firewalls on the way" in said


@pytest.mark.parametrize(("silent", "other"), [("tcp", "udp"), pytest.param("udp", "tcp", marks=pytest.mark.slow)])
def test_a_silent_transport_gets_half_of_the_time_and_then_the_other_one(said: list[str], silent: str, other: str) -> None:
    """Each may be the first one: UDP is if it worked before."""
    camera = RtspCamera(refused=["tcp"] if silent == "udp" else [])
    with running(camera) as url:
        opener = UrlOpener(url, "cam", network(open_timeout_s=2 * slowness()))
        if silent == "udp":
            opener().close()
            camera.asked.clear()
            said.clear()
        camera.refused, camera.silent = [], [silent]
        with closing(opener()) as source:
            assert source.transport == other
            assert [grey_index(frame.bgr) for frame in islice(source, 3)] == [0, 1, 2]
        assert camera.asked == [silent, other]
        assert said == [f"INFO cam: no data arrives over {silent.upper()}; reading over {other.upper()}\n"]
        opener().close()
        assert camera.asked == [silent, other, other]


@pytest.mark.slow
def test_after_silence_over_both_the_first_transport_gets_all_the_time() -> None:
    camera, limit_s = RtspCamera(silent=["tcp", "udp"]), soon(0.6)
    with running(camera) as url:
        opener = UrlOpener(url, "cam", network(open_timeout_s=limit_s))
        for why in (
            "no data arrives over TCP, and no data arrives over UDP",
            f"no frame within {limit_s:g} s",
            "no data arrives over TCP",
        ):
            with promised(2 * limit_s), pytest.raises(SourceOpenError, match=why):
                opener()
    assert camera.asked == ["tcp", "udp", "tcp", "tcp", "udp"]


def test_a_camera_that_is_silent_over_tcp_and_refuses_udp() -> None:
    camera = RtspCamera(silent=["tcp"], refused=["udp"])
    with running(camera) as url:
        assert "no data arrives over TCP, and the camera refuses UDP" in refusal(url, network(open_timeout_s=soon(3)))


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_transport_that_is_forced_gets_all_the_time(transport: str) -> None:
    camera, limit_s = RtspCamera(silent=["tcp", "udp"]), soon(0.6)
    with running(camera) as url, promised(2 * limit_s):
        assert f"no frame within {limit_s:g} s" in refusal(url, network(open_timeout_s=limit_s, transport=transport))
    assert camera.asked == [transport]


@pytest.mark.parametrize(("path", "openings"), [("/tcp", 1), ("/udp", 2)])
def test_a_camera_that_is_opened_early_loses_nothing(
    camera: RtspServer, config: Config, monkeypatch: pytest.MonkeyPatch, path: str, openings: int
) -> None:
    """Over UDP it is opened again when its frames are read: packets that are not read are lost."""
    opened: list[UrlSource] = []
    make = UrlOpener.__call__

    def counted(opener: UrlOpener) -> UrlSource:
        opened.append(make(opener))
        return opened[-1]

    monkeypatch.setattr(UrlOpener, "__call__", counted)
    settings = refine(config, Layer.of_key("test", "network.max_reconnects", 0))
    with closing(open_source(Camera("cam", camera.url(path), settings), SourceStates(), alone=True)) as source:
        frames = list(islice(source, 5))
    assert [frame.index for frame in frames] == list(range(5))
    assert len(opened) == openings
