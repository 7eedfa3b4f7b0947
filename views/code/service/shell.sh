#!/bin/sh
# Takes a token for a service and calls an API with it. curl and sed.
# Environment: ISSUER_URL, CLIENT_ID, CLIENT_SECRET, SCOPE, API_IDENTIFIER, API_URL.
set -eu

# Secrets reach curl by its standard input: what stands in arguments, every user of the machine can read.
answer=$(printf 'user = "%s:%s"\n' "$CLIENT_ID" "$CLIENT_SECRET" |
  curl --silent --show-error --fail-with-body --config - \
    --data grant_type=client_credentials \
    --data-urlencode "scope=$SCOPE" \
    --data-urlencode "resource=$API_IDENTIFIER" \
    "$ISSUER_URL/oauth/token")
token=$(printf '%s' "$answer" | sed -n 's/.*"access_token" *: *"\([^"]*\)".*/\1/p')

# Keep the token until it is refused (401) or expires_in has passed; do not take one for each call.
printf 'header = "Authorization: Bearer %s"\n' "$token" |
  curl --silent --show-error --fail-with-body --config - "$API_URL"
