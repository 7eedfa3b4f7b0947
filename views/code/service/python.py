# Takes a token for a service and calls an API with it. Python 3.9 or newer, standard library only.
# Environment: ISSUER_URL, CLIENT_ID, CLIENT_SECRET, SCOPE, API_IDENTIFIER, API_URL.
import base64
import json
import os
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen


def new_token():
    # RFC 6749 2.3.1: id and secret are form-encoded before they are joined.
    pair = f"{quote(os.environ['CLIENT_ID'], safe='')}:{quote(os.environ['CLIENT_SECRET'], safe='')}"
    form = {
        "grant_type": "client_credentials",
        "scope": os.environ["SCOPE"],
        "resource": os.environ["API_IDENTIFIER"],
    }
    request = Request(
        os.environ["ISSUER_URL"] + "/oauth/token",
        urlencode(form).encode(),
        {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()},
    )
    with urlopen(request, timeout=10) as response:  # raises HTTPError for 4xx
        return json.load(response)["access_token"]


# Keep the token until it is refused (401) or expires_in has passed; do not take one for each call.
token = new_token()
request = Request(os.environ["API_URL"], headers={"Authorization": "Bearer " + token})
with urlopen(request, timeout=10) as response:
    print(response.status, response.read().decode())
