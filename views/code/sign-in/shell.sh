#!/bin/sh
# Signs a person in: authorization code with PKCE (RFC 7636). curl, openssl and sed.
# Environment: ISSUER_URL, CLIENT_ID, CLIENT_SECRET (empty where there is none), REDIRECT_URI, SCOPE.
set -eu

random() { openssl rand 32 | openssl base64 -A | tr '+/' '-_' | tr -d '='; }
encode() { printf '%s' "$1" | curl -Gso /dev/null -w '%{url_effective}' --data-urlencode @- http://127.0.0.1:9 | cut -d'?' -f2 || true; }
verifier=$(random)
state=$(random)
challenge=$(printf '%s' "$verifier" | openssl dgst -sha256 -binary | openssl base64 -A | tr '+/' '-_' | tr -d '=')

query="response_type=code&client_id=$(encode "$CLIENT_ID")&redirect_uri=$(encode "$REDIRECT_URI")&scope=$(encode "$SCOPE")"
printf 'Open %s\n' "$ISSUER_URL/oauth/authorize?$query&state=$state&code_challenge=$challenge&code_challenge_method=S256"
printf 'The address that the browser ends at:\n'
read -r answer

# RFC 6749 10.12: an answer that we did not ask for is nobody's.
case "$answer" in *"state=$state"*) ;; *) echo 'this answer is not ours' >&2; exit 1 ;; esac
code=$(printf '%s' "$answer" | sed -n 's/.*[?&]code=\([^&]*\).*/\1/p')

# Secrets reach curl by its standard input: what stands in arguments, every user of the machine can read.
if [ -n "${CLIENT_SECRET:-}" ]; then
  who=$(printf 'user = "%s:%s"' "$CLIENT_ID" "$CLIENT_SECRET")
else
  who=$(printf 'data-urlencode = "client_id=%s"' "$CLIENT_ID")
fi
tokens=$(printf '%s\ndata = "code=%s&code_verifier=%s"\n' "$who" "$code" "$verifier" |
  curl --silent --show-error --fail-with-body --config - \
    --data grant_type=authorization_code \
    --data-urlencode "redirect_uri=$REDIRECT_URI" \
    "$ISSUER_URL/oauth/token")

# What the ID token says of the person. It came straight from the issuer, so its signature need not be checked (OpenID Connect 3.1.3.7).
claims=$(printf '%s' "$tokens" | sed -n 's/.*"id_token" *: *"[^.]*\.\([^.]*\)\..*/\1/p' | tr -- '-_' '+/')
while [ $((${#claims} % 4)) -ne 0 ]; do claims="$claims="; done
printf 'Signed in: '
printf '%s' "$claims" | openssl base64 -d -A
echo
