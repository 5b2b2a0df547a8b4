"""TLS for devices: the client proves that it has the key of a *registered* certificate, whoever signed that.

AWS IoT Core admits a certificate because it is registered and active, not because of its issuer.  Python's `ssl`
verifies a client's certificate against trust anchors or does not ask for one at all, so each registered certificate
becomes a trust anchor itself: with OpenSSL's partial-chain flag a leaf that is in the trust store ends the chain, self-
signed or not, and the handshake proves possession of its key.  Anchors can be added to a context in use; they cannot be
taken away, which does no harm, since the registry is asked about the certificate at each connection.

No certificate at all passes the handshake (`CERT_OPTIONAL`) and is refused right after it, with a line in the trace.
"""

import ssl

from stepbridge.iot.broker.tls import NamedTls

ALPN_MQTT = "x-amzn-mqtt-ca"
ALPN_HTTPS = "x-amzn-http-ca"
ALPN_WEBSOCKET = "http/1.1"
_OUT_OF_DATE = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED

_NOT_TLS = ("HTTP_REQUEST", "WRONG_VERSION_NUMBER")  # what OpenSSL makes of a request and of other first bytes


def prepare(context: ssl.SSLContext) -> None:
    """Make the server's context ask devices for a certificate, as AWS IoT Core does: TLS 1.2 and 1.3."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.sslobject_class = NamedTls
    context.sni_callback = NamedTls.remember  # type: ignore[assignment]
    context.set_alpn_protocols([ALPN_MQTT, ALPN_HTTPS, ALPN_WEBSOCKET])


def trust(context: ssl.SSLContext, certificate: str | bytes) -> None:
    """Let the holder of this certificate (PEM text or DER), or of one it has signed, through the handshake."""
    if isinstance(certificate, bytes) and certificate.startswith(b"-----BEGIN"):
        certificate = certificate.decode("ascii")
    context.load_verify_locations(cadata=certificate)


def explain(error: BaseException) -> str:
    """Why a handshake failed, for the trace."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _OUT_OF_DATE:
            return f"its client certificate cannot be used today ({error.verify_message})"
        return (
            f"its client certificate is not registered ({error.verify_message}); register it, or create one with "
            "`stepbridge device create`"
        )
    if isinstance(error, TimeoutError | ConnectionError) or "handshake" in str(error).lower():
        return f"it did not finish the handshake ({error})"
    if isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
        return "it does not speak TLS, and nothing else is spoken here"
    if isinstance(error, ssl.SSLError):
        return f"{error.reason or error}: does it trust the root CA, and does it speak TLS 1.2 or 1.3?"
    return str(error) or type(error).__name__
