"""Find the fault of a certificate that was refused."""

import ssl
from enum import Enum


class Fault(Enum):
    """Faults with different remedies. The values are X509_V_ERR_* codes of OpenSSL."""

    EXPIRED = (10,)
    NOT_YET_VALID = (9,)
    OTHER_NAME = (62, 64)
    """Hostname mismatch and IP address mismatch."""
    UNTRUSTED = ()
    """Any other fault: no trusted authority has signed the certificate."""


def fault_of(error: ssl.SSLCertVerificationError) -> Fault:
    """Return the fault of the certificate in an error."""
    return next((fault for fault in Fault if error.verify_code in fault.value), Fault.UNTRUSTED)
