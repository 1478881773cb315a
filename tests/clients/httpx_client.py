"""Two clients of httpx, h2 on: what proxies and trust they have come from the environment."""

import json
import sys

import httpx

origin, value = sys.argv[1:]
with httpx.Client(http2=True, timeout=20) as client:
    client.get(f"{origin}/set?v={value}").raise_for_status()
with httpx.Client(http2=True, timeout=20) as client:
    answer = client.get(f"{origin}/show")
assert answer.http_version == "HTTP/2", answer.http_version
print(json.dumps({"page": answer.text, "session": answer.headers.get("X-Session-ID")}))
