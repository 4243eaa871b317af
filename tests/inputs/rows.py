"""All rows, by section, in the order of the table."""

from tests.inputs import containers, images, live, local, pixels, web
from tests.inputs.table import Row

SECTIONS: dict[str, list[Row]] = {
    "Containers and codecs": containers.CONTAINERS,
    "Formats of pixels": containers.PIXEL_FORMATS,
    "Times and structure": containers.STRUCTURES,
    "Names of files": containers.NAMES,
    "Clocks": containers.CLOCKS,
    "What becomes of the pixels": pixels.PIXELS,
    "Pictures": images.IMAGES,
    "Pipes, folders, devices, mistakes": local.LOCAL,
    "HTTP": web.WEB,
    "Pictures of a server": web.STILL,
    "Motion JPEG": web.MOTION_JPEG,
    "Playlists, and where they may lead": web.PLAYLISTS,
    "Cameras and encoders": live.LIVE,
    "Outputs": local.OUTPUTS,
}
