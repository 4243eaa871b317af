"""What is wrong with a certificate that was refused."""

import ssl
from enum import Enum


class Fault(Enum):
    """Kinds of faults that ask for different remedies; values are OpenSSL's X509_V_ERR_* codes."""

    EXPIRED = (10,)
    NOT_YET_VALID = (9,)
    OTHER_NAME = (62, 64)
    """Hostname mismatch and IP address mismatch."""
    UNTRUSTED = ()
    """Anything else: nobody who is trusted has signed it."""


def fault_of(error: ssl.SSLCertVerificationError) -> Fault:
    """Return what is wrong with the certificate that an error is about."""
    return next((fault for fault in Fault if error.verify_code in fault.value), Fault.UNTRUSTED)
