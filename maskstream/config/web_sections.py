"""Define the settings of the dashboard and of the store, section by section."""

from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, Field

from maskstream.config.values import Count, Positive, Section, Text


def _checked_network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError as error:
        raise ValueError("expected an IP network or address, such as 10.0.0.0/8 or 192.168.1.5") from error
    return text


Network = Annotated[str, AfterValidator(_checked_network)]


class WebConfig(Section):
    """The dashboard, its API and metrics. The option --web also switches it on."""

    listen: Text | None = Field(
        default=None,
        description=(
            "The address and port of the dashboard, such as 127.0.0.1:8675 or [::1]:8675. null: no dashboard. An address "
            "other than loopback needs web.tls_certificate and web.tls_key, or web.trusted_proxies."
        ),
    )
    tls_certificate: Text | None = Field(
        default=None, description="A PEM file with the certificate for https://, followed by those of its issuers."
    )
    tls_key: Text | None = Field(
        default=None, description="A PEM file with the key of web.tls_certificate, without a passphrase."
    )
    hosts: list[Text] = Field(
        default=[],
        description=(
            "Host names under which browsers may open the dashboard, in addition to the name in web.listen, localhost, the "
            "names in web.tls_certificate, and IP addresses. A request for another host is refused."
        ),
    )
    trusted_proxies: list[Network] = Field(
        default=[],
        description=(
            "The networks of reverse proxies: [10.0.0.0/8]. Only they may send X-Forwarded-For, X-Forwarded-Proto and the "
            "headers of web.proxy_user_header and web.proxy_role_header."
        ),
    )
    proxy_secret: Annotated[Text | None, Field(repr=False)] = Field(
        default=None,
        description=(
            "A secret that the reverse proxy sends in the header X-Maskstream-Proxy-Secret. ${NAME} is replaced by the "
            "environment variable. With it, headers of a proxy that does not send it are ignored."
        ),
    )
    proxy_user_header: Text | None = Field(
        default=None,
        description=(
            "The header in which the reverse proxy sends the name of a user who has logged in there (OIDC, LDAP). Needs "
            "web.trusted_proxies and web.proxy_secret. null: users log in with a password."
        ),
    )
    proxy_role_header: Text | None = Field(
        default=None,
        description=(
            "The header in which the reverse proxy sends the role of the user: display, viewer, operator or admin. null: the "
            "role that `maskstream user add` gave the name. A user without a role may see nothing."
        ),
    )
    metrics_networks: list[Network] = Field(
        default=[],
        description="The networks that may read /metrics without a token: [127.0.0.1, 10.0.0.0/8].",
    )
    max_clients: Count = Field(
        default=64, description="The maximum number of browsers and other clients that watch live images at the same time."
    )
    max_mjpeg: Count = Field(default=4, description="The maximum number of clients that watch an MJPEG stream at the same time.")
    tile_quality: Annotated[int, Field(ge=1, le=100)] = Field(
        default=80, description="The JPEG quality of the images in the dashboard, 1 to 100."
    )


class StoreConfig(Section):
    """The database of events, minute counts, source states, users and the audit log."""

    folder: Text | None = Field(
        default=None,
        description=(
            "The folder of the database maskstream.db. It is used with a dashboard, and without one where this is set. null: "
            "maskstream/store in $XDG_STATE_HOME (~/.local/state)."
        ),
    )
    keep_days: Positive | None = Field(
        default=400.0,
        description=(
            "The time, in days, that the store keeps events, minute counts, source states and the audit log. null: without limit."
        ),
    )
