"""The certificate that a proxy shows in a tunnel, as PEM: leaf.py PROXY CA TARGET [SNI]. Its chain must lead to the CA."""

import socket
import ssl
import sys

proxy, ca, target, *sni = sys.argv[1:]
host, port = proxy.rsplit(":", 1)
context = ssl.create_default_context(cafile=ca)
# Whom it is for is what the test looks at.
context.check_hostname = False
with socket.create_connection((host, int(port)), timeout=20) as wire:
    wire.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += wire.recv(1) or sys.exit(f"the proxy hung up: {answer}")
    assert b" 200 " in answer.splitlines()[0], answer
    with context.wrap_socket(wire, server_hostname=sni[0] if sni else None) as tls:
        print(ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True)), end="")
