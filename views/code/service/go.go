// Takes a token for a service and calls an API with it. Go 1.19 or newer, standard library only.
// Environment: ISSUER_URL, CLIENT_ID, CLIENT_SECRET, SCOPE, API_IDENTIFIER, API_URL.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

var client = &http.Client{Timeout: 10 * time.Second}

func newToken() (string, error) {
	form := url.Values{
		"grant_type": {"client_credentials"},
		"scope":      {os.Getenv("SCOPE")},
		"resource":   {os.Getenv("API_IDENTIFIER")},
	}
	request, err := http.NewRequest("POST", os.Getenv("ISSUER_URL")+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	// RFC 6749 2.3.1: id and secret are form-encoded before they are joined.
	request.SetBasicAuth(url.QueryEscape(os.Getenv("CLIENT_ID")), url.QueryEscape(os.Getenv("CLIENT_SECRET")))
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var body struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error"`
	}
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("no token: %d %s", response.StatusCode, body.Error)
	}
	return body.AccessToken, nil
}

func main() {
	// Keep the token until it is refused (401) or expires_in has passed; do not take one for each call.
	token, err := newToken()
	if err != nil {
		log.Fatal(err)
	}
	request, err := http.NewRequest("GET", os.Getenv("API_URL"), nil)
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	fmt.Println(response.StatusCode, string(body))
}
