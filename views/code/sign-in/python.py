# Signs a person in: authorization code with PKCE (RFC 7636). Python 3.9 or newer, standard library only.
# Environment: ISSUER_URL, CLIENT_ID, CLIENT_SECRET (empty where there is none), REDIRECT_URI, SCOPE.
import base64
import hashlib
import json
import os
import secrets
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, quote, urlencode, urlsplit
from urllib.request import Request, urlopen

issuer, client_id = os.environ["ISSUER_URL"], os.environ["CLIENT_ID"]
client_secret, redirect_uri = os.environ.get("CLIENT_SECRET", ""), os.environ["REDIRECT_URI"]

# In a web application these two belong to the browser's session.
state = secrets.token_urlsafe(32)
verifier = secrets.token_urlsafe(32)


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def redeem(code):
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "code_verifier": verifier,
        "redirect_uri": redirect_uri,
    }
    headers = {}
    if client_secret:
        # RFC 6749 2.3.1: id and secret are form-encoded before they are joined.
        pair = f"{quote(client_id, safe='')}:{quote(client_secret, safe='')}"
        headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
    else:
        form["client_id"] = client_id
    with urlopen(Request(issuer + "/oauth/token", urlencode(form).encode(), headers), timeout=10) as response:
        id_token = json.load(response)["id_token"]
    # It came straight from the issuer, so its signature need not be checked (OpenID Connect 3.1.3.7).
    payload = id_token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


class Callback(BaseHTTPRequestHandler):
    claims = None

    def do_GET(self):
        url = urlsplit(self.path)
        answer = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path != urlsplit(redirect_uri).path:
            return self.send_error(404)
        # RFC 6749 10.12: an answer that we did not ask for is nobody's.
        if answer.get("state") != state:
            return self.send_error(400, "This answer is not ours.")
        Callback.claims = redeem(answer.get("code", ""))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"You are signed in. This page can be closed.")

    def log_message(self, *_):
        pass  # the address of the callback holds a code


query = urlencode(
    {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": os.environ.get("SCOPE", "openid"),
        "state": state,
        "code_challenge": base64url(hashlib.sha256(verifier.encode()).digest()),
        "code_challenge_method": "S256",
    }
)
server = HTTPServer(("127.0.0.1", urlsplit(redirect_uri).port), Callback)
print(f"Open {issuer}/oauth/authorize?{query}", flush=True)
while Callback.claims is None:
    server.handle_request()
print("Signed in:", json.dumps(Callback.claims))
