"""Two calls of requests that share no jar: what proxies and trust it has come from the environment."""

import json
import sys

import requests

origin, value = sys.argv[1:]
requests.get(f"{origin}/set?v={value}", timeout=20).raise_for_status()
answer = requests.get(f"{origin}/show", timeout=20)
print(json.dumps({"page": answer.text, "session": answer.headers.get("X-Session-ID")}))
