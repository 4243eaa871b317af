"""An RTSP server for tests. The system's Python runs it: it alone has the bindings of GStreamer.

Usage: rtsp_server.py HOST PORT LOGIN CERTIFICATE PATH:FEED_PORT:TRANSPORTS:ROLE ...

Each path sends on the H.264 that arrives as RTP at its feed port of 127.0.0.1; with jpeg for a port, it sends pictures of its own
as Motion JPEG. LOGIN is METHOD:USER:PASSWORD with the method basic or digest; CERTIFICATE is a PEM file with certificate and key,
for rtsps://, or - for none; TRANSPORTS is tcp, udp or both; ROLE is who may watch: anyone, or user, who has to log in. All that
it prints is the port that it listens at; for PORT 0 it takes any free one.
"""

import sys

import gi

for library in ("Gst", "GstRtsp", "GstRtspServer"):
    gi.require_version(library, "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

# No config-interval: it would put SPS and PPS between the slices of a picture. The encoder repeats them itself.
RELAY = (
    "udpsrc address=127.0.0.1 port={} caps=application/x-rtp,media=video,clock-rate=90000,encoding-name=H264,payload=96"
    " ! rtph264depay ! h264parse ! rtph264pay name=pay0 pt=96"
)
JPEG = (
    "videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=10/1,format=I420"
    " ! jpegenc ! rtpjpegpay name=pay0 pt=26"
)
TRANSPORTS = {
    "tcp": GstRtsp.RTSPLowerTrans.TCP,
    "udp": GstRtsp.RTSPLowerTrans.UDP,
    "both": GstRtsp.RTSPLowerTrans.TCP | GstRtsp.RTSPLowerTrans.UDP,
}


def make_factory(feed_port: str, transports: str, role: str) -> GstRtspServer.RTSPMediaFactory:
    """Return what makes the stream of a path: one pipeline for all who watch it."""
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(JPEG if feed_port == "jpeg" else RELAY.format(feed_port))
    factory.set_shared(True)
    factory.set_protocols(TRANSPORTS[transports])
    for who in ("anyone", "user"):
        may_watch = str(who in (role, "user")).lower()  # who may see a path but not watch it is asked to log in
        rights = f"{who}, media.factory.access=(boolean)true, media.factory.construct=(boolean){may_watch}"
        factory.add_role_from_structure(Gst.Structure.from_string(rights)[0])
    return factory


def make_token(role: str) -> GstRtspServer.RTSPToken:
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", role)
    return token


def make_auth(certificate: str, method: str, user: str, password: str) -> GstRtspServer.RTSPAuth:
    auth = GstRtspServer.RTSPAuth()
    if certificate != "-":
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(certificate))
    auth.set_default_token(make_token("anyone"))
    if method == "basic":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), make_token("user"))
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, make_token("user"))
    return auth


def main(host: str, port: str, login: str, certificate: str, *streams: str) -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(host)
    server.set_service(port)
    server.set_auth(make_auth(certificate, *login.split(":", 2)))
    for stream in streams:
        path, *settings = stream.split(":")
        server.get_mount_points().add_factory(path, make_factory(*settings))
    server.attach(None)
    print(server.get_bound_port(), flush=True)  # noqa: T201
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
