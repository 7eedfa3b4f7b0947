# Calls an API with a client_credentials token. Python 3.9 or newer, standard library only.
# Environment: ISSUER_URL, CLIENT_ID, CLIENT_SECRET, API_URL, API_IDENTIFIER.
import base64
import json
import os
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

# What a program holds after a quarter of an hour: a token that has died. A fresh program would start with none.
token = "expired"


class NotAllowed(Exception):
    """403: the API knows us and says no. Another token would be told the same."""


def new_token():
    # RFC 6749 2.3.1: id and secret are form-encoded before they are joined.
    pair = f"{quote(os.environ['CLIENT_ID'], safe='')}:{quote(os.environ['CLIENT_SECRET'], safe='')}"
    form = {"grant_type": "client_credentials", "scope": "orders:read", "resource": os.environ["API_IDENTIFIER"]}
    status, _, body = send(
        "POST",
        os.environ["ISSUER_URL"] + "/oauth/token",
        "Basic " + base64.b64encode(pair.encode()).decode(),
        urlencode(form).encode(),
    )
    if status != 200:
        raise RuntimeError(f"no token: {status} {body.get('error')}")
    return body["access_token"]


def call(method, path):
    global token
    url = os.environ["API_URL"] + path
    status, headers, body = send(method, url, "Bearer " + token)
    if status == 401:
        print("needs new token (401): trying once more with a fresh one")
        token = new_token()
        status, headers, body = send(method, url, "Bearer " + token)
    if status == 403:
        raise NotAllowed(headers.get("WWW-Authenticate", body.get("error")))
    if status != 200:
        raise RuntimeError(f"{method} {path}: {status} {body.get('error')}")
    return body


def send(method, url, authorization, data=None):
    request = Request(url, data, {"Authorization": authorization}, method=method)
    try:
        with urlopen(request, timeout=10) as response:
            return response.status, response.headers, json.load(response)
    except HTTPError as error:
        with error:
            return error.code, error.headers, json.load(error)


print("ok (200):", len(call("GET", "/orders")["orders"]), "orders")
try:
    call("DELETE", "/orders/1")
except NotAllowed as reason:
    print("not allowed (403):", reason)
