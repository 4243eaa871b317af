"""Run workers as actors of a Ray cluster."""

import os
import pickle
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from threading import Event
from time import monotonic, sleep
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from maskstream.errors import ConfigError
from maskstream.fleet.placement import Call, NodeInfo, Worker, WorkerSpec
from maskstream.fleet.ray_head import Head
