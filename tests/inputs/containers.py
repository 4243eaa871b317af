"""Local video files: containers, codecs, structures, names and clocks."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.inputs.table import FRAMES, LENGTH_S, PLAIN, Row, Scene, ffmpeg

OUT = "out.mp4"
TO_OUT = f"--output {OUT}"
CIF4 = "scale=704:396,pad=704:576:0:90"
"""The clip in the middle of a frame of 704x576, which H.263 needs."""
PAL = "scale=720:405,pad=720:576:0:86,setsar=1"


def video(name: str, made: str, options: str = "", *, length_s: float = LENGTH_S, **promised: object) -> Row:
    """Return the row of a file that ffmpeg makes; its name is the last word. If it has all frames, an output video is written."""
    if not options and "frames" not in promised:
        options, promised = TO_OUT, {"outputs": {OUT: (FRAMES, length_s)}, **promised}
    return Row(name, made.split()[-1], options, made, **promised)  # type: ignore[arg-type]


def prepared(make: Callable[[Path], object]) -> Scene:
    """Return a scene of a function that makes files in a folder."""

    @contextmanager
    def scene(folder: Path) -> Iterator[str]:
        make(folder)
        yield ""

    return scene


CONTAINERS = [
    video("MP4, H.265", "-c:v libx265 -crf 16 -x265-params log-level=error -tag:v hvc1 h265.mp4"),
    video("MP4, H.265, tag hev1", "-c:v libx265 -crf 16 -x265-params log-level=error -tag:v hev1 hev1.mp4"),
    video("MP4, AV1", "-c:v libaom-av1 -cpu-used 8 -crf 20 -b:v 0 av1.mp4"),
    video("MP4, VP9", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 20 -b:v 0 vp9.mp4"),
    video("MP4, MPEG-4 part 2", "-c:v mpeg4 -q:v 2 mpeg4.mp4"),
    video("MP4, MJPEG", "-c:v mjpeg -q:v 2 mjpeg.mp4"),
    video("M4V", "-c copy clip.m4v"),
    video("F4V", "-c copy -f f4v clip.f4v"),
    video("MOV, H.264", "-c copy clip.mov"),
    video("MOV, ProRes", "-c:v prores_ks -c:a pcm_s16le prores.mov"),
    video("MOV, ProRes 4444 with alpha", "-c:v prores_ks -profile:v 4444 -pix_fmt yuva444p10le prores4444.mov"),
    video("MOV, DNxHR", "-c:v dnxhd -profile:v dnxhr_sq -pix_fmt yuv422p -c:a pcm_s16le dnxhr.mov"),
    video("MOV, MJPEG", "-c:v mjpeg -q:v 2 mjpeg.mov"),
    video("MOV, QuickTime Animation", "-c:v qtrle animation.mov"),
    video("MOV, PNG with alpha", "-c:v png -pix_fmt rgba png.mov"),
    video("MOV, CineForm", "-c:v cfhd cineform.mov"),
    video("MOV, Hap", "-c:v hap hap.mov"),
    video("MOV, Sorenson", "-c:v svq1 -q:v 2 sorenson.mov"),
    video("Motion JPEG 2000", "-c:v jpeg2000 -pix_fmt yuv420p -f mov clip.mj2"),
    video("MKV, H.264", "-c copy clip.mkv"),
    video("MKV, H.265 10 bit", "-c:v libx265 -crf 16 -pix_fmt yuv420p10le -x265-params log-level=error h265.mkv"),
    video("MKV, AV1 10 bit", "-c:v libaom-av1 -cpu-used 8 -crf 20 -b:v 0 -pix_fmt yuv420p10le av1.mkv"),
    video("MKV, FFV1", "-c:v ffv1 ffv1.mkv"),
    video("MKV, MJPEG", "-c:v mjpeg -q:v 2 mjpeg.mkv"),
    video("MKV, MPEG-2 and AC-3", "-c:v mpeg2video -q:v 2 -c:a ac3 mpeg2.mkv"),
    video("MKV, Dirac (VC-2)", "-c:v vc2 -b:v 60M vc2.mkv"),
    video("WebM, VP8", "-c:v libvpx -deadline realtime -cpu-used 8 -crf 10 -b:v 4M -c:a libopus vp8.webm"),
    video("WebM, VP9", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 20 -b:v 0 -c:a libopus vp9.webm"),
    video("WebM, AV1", "-c:v libaom-av1 -cpu-used 8 -crf 20 -b:v 0 -c:a libopus av1.webm"),
    video("AVI, Xvid", "-c:v libxvid -q:v 2 -c:a libmp3lame xvid.avi"),
    video("AVI, DivX 3", "-c:v msmpeg4 -q:v 2 -c:a libmp3lame divx.avi"),
    video("AVI, H.264", "-c copy h264.avi"),
    video("AVI, MJPEG", "-c:v mjpeg -q:v 2 -c:a pcm_s16le mjpeg.avi"),
    video("AVI, HuffYUV", "-c:v huffyuv -pix_fmt yuv422p huffyuv.avi"),
    video("AVI, FFVHuff", "-c:v ffvhuff ffvhuff.avi"),
    video("AVI, Ut Video", "-c:v utvideo utvideo.avi"),
    video("AVI, MagicYUV", "-c:v magicyuv magicyuv.avi"),
    video("AVI, raw YUV", "-c:v rawvideo -pix_fmt yuv420p raw.avi"),
    video("AVI, raw RGB", "-c:v rawvideo -pix_fmt bgr24 rgb.avi"),
    video("AVI, DV", f"-vf {PAL} -c:v dvvideo -pix_fmt yuv420p -c:a pcm_s16le dv.avi"),
    video("AVI, ZMBV", "-c:v zmbv zmbv.avi"),
    video("AVI, Microsoft Video 1", "-c:v msvideo1 msvideo1.avi", faces=None),
    video("DV", f"-vf {PAL} -c:v dvvideo -pix_fmt yuv420p -c:a pcm_s16le -ar 48000 clip.dv"),
    video("FLV, Sorenson H.263", "-c:v flv -q:v 2 -c:a libmp3lame -ar 44100 flv1.flv"),
    video("FLV, H.264", "-c copy h264.flv"),
    video("Flash, SWF", "-c:v flv -q:v 2 -c:a libmp3lame -ar 44100 clip.swf"),
    video("MPEG-1", "-c:v mpeg1video -q:v 2 -c:a mp2 clip.mpg"),
    video("MPEG-2 program stream", "-c:v mpeg2video -q:v 2 -c:a mp2 -f vob clip.mpeg"),
    video("DVD, VOB", "-c:v mpeg2video -q:v 2 -c:a ac3 -f dvd clip.vob"),
    video("TS, H.264", "-c copy clip.ts"),
    video("TS, H.265", "-c:v libx265 -crf 16 -x265-params log-level=error h265.ts"),
    video("TS, MPEG-2", "-c:v mpeg2video -q:v 2 -c:a mp2 mpeg2.ts"),
    video("M2TS, as AVCHD cameras write", "-c copy -mpegts_m2ts_mode 1 -f mpegts clip.m2ts"),
    video("MTS", "-c:v libx264 -crf 14 -c:a ac3 -mpegts_m2ts_mode 1 -f mpegts clip.mts"),
    video("3GP, H.263", f"-vf {CIF4} -c:v h263 -q:v 2 -an h263.3gp"),
    video("3GP, H.264", "-c copy h264.3gp"),
    video("3G2", "-c:v mpeg4 -q:v 2 -c:a aac clip.3g2"),
    video("WMV 7", "-c:v wmv1 -q:v 2 wmv1.wmv"),
    video("WMV 8", "-c:v wmv2 -q:v 2 -c:a wmav2 wmv2.wmv"),
    video("ASF, MPEG-4 of Microsoft", "-c:v msmpeg4v2 -q:v 2 clip.asf"),
    video("Windows TV recording", "-c:v mpeg2video -q:v 2 -c:a mp2 clip.wtv"),
    video("Ogg, Theora", "-c:v libtheora -q:v 10 -c:a libvorbis clip.ogv"),
    video("RealMedia", "-c:v rv20 -q:v 2 -an clip.rm"),
    video("MXF, MPEG-2", "-c:v mpeg2video -q:v 2 -c:a pcm_s16le -ar 48000 mpeg2.mxf"),
    video("MXF, DNxHR", "-c:v dnxhd -profile:v dnxhr_sq -pix_fmt yuv422p -c:a pcm_s16le -ar 48000 dnxhr.mxf"),
    video("NUT, FFV1", "-c:v ffv1 -c:a flac clip.nut"),
    video("IVF, VP8", "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 4M -crf 10 -an clip.ivf"),
    video("OBU, AV1", "-c:v libaom-av1 -cpu-used 8 -crf 20 -b:v 0 -an clip.obu"),
    video("GIF", "-vf split[a][b];[a]palettegen[p];[b][p]paletteuse clip.gif"),
    video("APNG", "-f apng -plays 0 clip.apng"),
    video("Y4M", "clip.y4m"),
    video("H.264 without container", "-c:v copy clip.h264"),
    video("H.264 without container, .264", "-c:v copy -f h264 clip.264"),
    video("H.265 without container", "-c:v libx265 -crf 16 -x265-params log-level=error clip.h265"),
    video("MJPEG without container", "-c:v mjpeg -q:v 2 -f mjpeg clip.mjpeg"),
    video("MPEG-2 without container", "-c:v mpeg2video -q:v 2 clip.m2v"),
    video("MPEG-4 without container", "-c:v mpeg4 -q:v 2 -f m4v raw.m4v"),
]

PIXEL_FORMATS = [
    video("4:2:2", "-c:v libx264 -crf 14 -pix_fmt yuv422p clip422.mp4"),
    video("4:4:4", "-c:v libx264 -crf 14 -pix_fmt yuv444p clip444.mp4"),
    video("10 bit 4:2:2", "-c:v libx264 -crf 14 -pix_fmt yuv422p10le clip422_10.mp4"),
    video("RGB in H.264", "-c:v libx264rgb -crf 14 -pix_fmt rgb24 rgb.mp4"),
    video("full range", "-vf scale=out_range=full -c:v libx264 -crf 14 -pix_fmt yuvj420p full.mp4"),
    video("BT.601", "-vf scale=out_color_matrix=bt601 -c:v libx264 -crf 14 -colorspace smpte170m bt601.mp4"),
    video("grey", "-c:v libx264 -crf 14 -pix_fmt gray grey.mp4", faces=1.0),
    video("12 bit HEVC 4:4:4", "-c:v libx265 -crf 16 -x265-params log-level=error -pix_fmt yuv444p12le h265_12.mkv"),
    video("VP9 with alpha", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 20 -b:v 0 -pix_fmt yuva420p -an alpha.webm"),
    video("48 bit RGB", "-c:v ffv1 -pix_fmt gbrp16le rgb48.mkv"),
    video("PAL8", "-vf split[a][b];[a]palettegen[p];[b][p]paletteuse -c:v png -pix_fmt pal8 -an pal8.avi"),
]

STRUCTURES = [
    video("B-frames", "-c:v libx264 -crf 14 -bf 3 -b_strategy 0 bframes.mp4"),
    video("B-frames in a pyramid, MKV", "-c:v libx264 -crf 14 -bf 8 -x264-params b-pyramid=strict:b-adapt=0 pyramid.mkv"),
    video("open GOP", "-c:v libx264 -crf 14 -bf 3 -g 10 -x264-params open-gop=1 opengop.mp4"),
    video("key frames only", "-c:v libx264 -crf 14 -g 1 intra.mp4"),
    video("periodic intra refresh", "-c:v libx264 -crf 14 -x264-params intra-refresh=1:keyint=10 refresh.mkv"),
    video("slices", "-c:v libx264 -crf 14 -slices 8 slices.mp4"),
    video("variable frame rate", "-vf select='not(mod(n\\,3))+lt(n\\,8)' -vsync vfr -c:v libx264 -crf 14 vfr.mp4", frames=14),
    video("a frame each 5 s", "-vf select='lt(n\\,5)',setpts=N*5/TB -vsync vfr -an -c:v libx264 slow.mkv", frames=5, people=12),
    video("1 fps", "-vf setpts=N/TB -r 1 -an -c:v libx264 -crf 14 1fps.mp4", people=12, length_s=25.0),
    video("100 fps", "-vf setpts=N/100/TB -r 100 -an -c:v libx264 -crf 14 100fps.mp4", length_s=0.25),
    video("30000/1001 fps", "-vf setpts=N*1001/30000/TB -r 30000/1001 -an -c:v libx264 -crf 14 ntsc.mov", length_s=0.83),
    video("fragmented MP4", "-c copy -movflags frag_keyframe+empty_moov fragmented.mp4"),
    video("index at the beginning", "-c copy -movflags faststart faststart.mp4"),
    video("edit list: begins after a key frame", "-c:v libx264 -crf 14 -bf 2 -ss 0.4 edited.mp4", frames=15),
    video("no audio", "-c copy -an silent.mp4"),
    video("audio in 5.1", "-c:v copy -c:a ac3 -ac 6 surround.mp4"),
    video("audio in Opus", "-c:v copy -c:a libopus opus.mp4"),
    video("audio first, video second", "-map 0:a -map 0:v -c copy turned.mp4"),
    video("two video streams", "-map 0:v -map 0:v -map 0:a -c copy -disposition:v:1 0 two.mkv"),
    video("metadata that is not UTF-8", "-c copy -metadata title=caf\udce9 latin.mkv"),
    Row(
        "truncated MP4 with its index at the beginning",
        "cut.mp4",
        ffmpeg="-c copy -movflags faststart whole.mp4",
        scene=prepared(lambda folder: cut(folder / "whole.mp4", folder / "cut.mp4")),
        made="cut to 60 %",
        frames=(8, 20),
    ),
    Row(
        "truncated MP4 with its index at the end",
        "cut.mp4",
        scene=prepared(lambda folder: cut(folder / PLAIN, folder / "cut.mp4")),
        made="`clip.mp4` cut to 60 %",
        code=3,
        says="cut.mp4: not a video",
    ),
    *(
        Row(
            f"truncated {suffix.upper()}",
            f"cut.{suffix}",
            ffmpeg=f"-c copy whole.{suffix}",
            scene=prepared(lambda folder, suffix=suffix: cut(folder / f"whole.{suffix}", folder / f"cut.{suffix}")),  # type: ignore[misc]
            frames=(8, 22),
        )
        for suffix in ("mkv", "ts", "avi", "flv")
    ),
    Row(
        "encrypted MP4 (CENC, as DRM has it)",
        "drm.mp4",
        ffmpeg="-c copy -encryption_scheme cenc-aes-ctr -encryption_key 76a6c65c5ea762046bd749a2e632ccbb "
        "-encryption_kid a7e61c373e219033c21091fa607bf3b8 drm.mp4",
        code=3,
        says="encrypted",
    ),
    Row("audio only", "song.m4a", ffmpeg="-vn -c:a copy song.m4a", code=3, says="no video"),
    Row(
        "cover of a song",
        "song.mp3",
        ffmpeg="-i photo.png -map 0:a -map 1:v -disposition:v attached_pic song.mp3",
        code=3,
        says="no video",
    ),
]


def cut(whole: Path, target: Path) -> None:
    content = whole.read_bytes()
    target.write_bytes(content[: len(content) * 6 // 10])


def named(name: str, target: str, typed: str = "", made: str = "", **promised: object) -> Row:
    """Return the row of the plain clip under another name."""

    def make(folder: Path) -> None:
        (folder / target).parent.mkdir(exist_ok=True)
        shutil.copy(folder / (made.split()[-1] if made else PLAIN), folder / target)

    return Row(name, typed or target, ffmpeg=made, scene=prepared(make), **promised)  # type: ignore[arg-type]


NAMES = [
    named("no suffix", "clip"),
    named("another suffix: MP4 as .avi", "clip.avi"),
    named("another suffix: MKV as .mp4", "other.mp4", made="-c copy clip.mkv"),
    named("another suffix: MP4 as .jpg", "clip.jpg"),
    named("another suffix: MP4 as .txt", "clip.txt"),
    named("capitals", "CLIP.MP4"),
    named("blanks and letters of all kinds", "Übung день 日本.mp4", "'Übung день 日本.mp4'"),
    named("percent", "100%.mp4"),
    named("percent and a number", "clip%03d.mp4"),
    named("colon", "12:30:00.mp4"),
    named("like a protocol", "http:clip.mp4"),
    named("hash and question mark", "a#b?c=d.mp4", "'a#b?c=d.mp4'"),
    named("brackets", "clip[1].mp4", "'clip[1].mp4'"),
    named("begins with a dash", "-clip.mp4", "./-clip.mp4"),
    named("very long", "x" * 240 + ".mp4"),
    named("digits only, as a path", "0", "./0"),
    named("in another folder", "deep/clip.mp4", "./deep/../deep/clip.mp4"),
    Row(
        "a link",
        "link.mp4",
        scene=prepared(lambda folder: (folder / "link.mp4").symlink_to(PLAIN)),
        made="`ln -s clip.mp4 link.mp4`",
    ),
    Row("file:// URL", "file://{}/clip.mp4", scene=lambda folder: _yield(str(folder))),
    Row("file:// URL with escapes", "file://{}/a%20b.mp4", scene=lambda folder: _copied(folder, "a b.mp4")),
    named("dots", "a.b.c.mp4"),
]


@contextmanager
def _yield(text: str) -> Iterator[str]:
    yield text


@contextmanager
def _copied(folder: Path, name: str) -> Iterator[str]:
    shutil.copy(folder / PLAIN, folder / name)
    yield str(folder)


def jump(folder: Path) -> None:
    """Write a transport stream whose clock jumps by ten hours in the middle, like that of a recorder that was switched off."""
    ffmpeg(folder, "-i", PLAIN, "-c", "copy", "first.ts")
    ffmpeg(folder, "-i", PLAIN, "-c", "copy", "-output_ts_offset", "36000", "second.ts")
    (folder / "jump.ts").write_bytes((folder / "first.ts").read_bytes() + (folder / "second.ts").read_bytes())


def jump_back(folder: Path) -> None:
    ffmpeg(folder, "-i", PLAIN, "-c", "copy", "-output_ts_offset", "500", "first.ts")
    ffmpeg(folder, "-i", PLAIN, "-c", "copy", "second.ts")
    (folder / "back.ts").write_bytes((folder / "first.ts").read_bytes() + (folder / "second.ts").read_bytes())


ONE_SECOND = {OUT: (FRAMES, LENGTH_S)}

BEFORE = "-c copy -output_ts_offset -0.3 -avoid_negative_ts disabled"
CLOCKS = [
    video("begins at 10 hours, MP4", "-c copy -output_ts_offset 36000 off.mp4"),
    video("begins at 10 hours, MKV", "-c copy -output_ts_offset 36000 off.mkv"),
    video("begins at 10 hours, TS", "-c copy -output_ts_offset 36000 off.ts"),
    video("begins at a time of day, FLV", "-c copy -output_ts_offset 36000 off.flv"),
    video("begins before 0, FLV: its clock jumps three times by 24 days", f"{BEFORE} before.flv", people=12),
    video("begins before 0, ASF", f"{BEFORE} before.asf"),
    video("begins before 0, MP4: its edit list excludes that", f"{BEFORE} before.mp4", frames=17),
    video(
        "the clock of a TS begins anew (33 bits)",
        "-c copy -muxdelay 0 -output_ts_offset 95443.2 wrap.ts",
    ),
    Row(
        "audio 10 hours after the video",
        "apart.mkv",
        TO_OUT,
        scene=prepared(lambda folder: apart(folder, "36000", "apart.mkv")),
        made=f"`ffmpeg -i {PLAIN} -itsoffset 36000 -i {PLAIN} -map 0:v -map 1:a -c copy apart.mkv`",
        outputs=ONE_SECOND,
    ),
    Row(
        "video 10 hours after the audio",
        "apart.mkv",
        TO_OUT,
        scene=prepared(lambda folder: apart(folder, "-36000", "apart.mkv", "-avoid_negative_ts", "make_zero")),
        made=f"`ffmpeg -i {PLAIN} -itsoffset -36000 -i {PLAIN} -map 0:v -map 1:a -c copy apart.mkv`",
        outputs=ONE_SECOND,
    ),
    Row(
        "the clock jumps by 10 hours",
        "jump.ts",
        TO_OUT,
        scene=prepared(jump),
        made="two transport streams one behind the other",
        frames=2 * FRAMES,
        people=6,
        outputs={OUT: (2 * FRAMES, 2 * LENGTH_S)},
    ),
    Row(
        "the clock jumps back",
        "back.ts",
        TO_OUT,
        scene=prepared(jump_back),
        made="two transport streams one behind the other",
        frames=2 * FRAMES,
        people=6,
        outputs={OUT: (2 * FRAMES, 2 * LENGTH_S)},
    ),
    video(
        "--max-frames where the clock begins at 10 hours", "-c copy -output_ts_offset 36000 off.mp4", "--max-frames 5", frames=5
    ),
]


def apart(folder: Path, offset_s: str, name: str, *more: str) -> None:
    streams = ["-map", "0:v", "-map", "1:a", "-c", "copy"]
    ffmpeg(folder, "-i", PLAIN, "-itsoffset", offset_s, "-i", PLAIN, *streams, *more, name)
