"""All rows, by section, in the order of the table."""

from tests.inputs import containers, images, live, local, pixels, web
from tests.inputs.table import Row

SECTIONS: dict[str, list[Row]] = {
    "Containers and codecs": containers.CONTAINERS,
    "Pixel formats": containers.PIXEL_FORMATS,
    "Times and structure": containers.STRUCTURES,
    "File names": containers.NAMES,
    "Clocks": containers.CLOCKS,
    "Conversion of frames": pixels.PIXELS,
    "Images": images.IMAGES,
    "Pipes, folders, devices, errors": local.LOCAL,
    "HTTP": web.WEB,
    "Images on a server": web.STILL,
    "Motion JPEG": web.MOTION_JPEG,
    "Playlists, and what they may open": web.PLAYLISTS,
    "Cameras and encoders": live.LIVE,
    "Outputs": local.OUTPUTS,
}
