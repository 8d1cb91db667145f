"""A certificate for one login's https callback. Its key never leaves the memory."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

COMMON_NAME = "tokenrelay login callback"
SPAN = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class CallbackCertificate:
    """``fingerprint`` is the SHA-256 of the certificate, as browsers show it."""

    context: ssl.SSLContext
    fingerprint: str


def make_certificate(host: str) -> CallbackCertificate:
    """A new self-signed certificate for ``host``, a name or an address, good for a day."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(host, key)
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return CallbackCertificate(
        _context(pem), certificate.fingerprint(hashes.SHA256()).hex(":").upper()
    )


def _sign(host: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, COMMON_NAME)])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder(issuer_name=name, subject_name=name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SPAN)
        .not_valid_after(now + SPAN)
        .add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _context(pem: bytes) -> ssl.SSLContext:
    # The ssl module reads keys from paths only: one that no disk holds, memfd_create(2).
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    descriptor = os.memfd_create("callback", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context
