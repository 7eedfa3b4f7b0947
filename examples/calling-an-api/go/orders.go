// Calls an API with a client_credentials token. Go 1.19 or newer, standard library only.
// Environment: ISSUER_URL, CLIENT_ID, CLIENT_SECRET, API_URL, API_IDENTIFIER.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// 403: the API knows us and says no. Another token would be told the same.
type notAllowed struct{ reason string }

func (e notAllowed) Error() string { return e.reason }

var client = &http.Client{Timeout: 10 * time.Second}

// What a program holds after a quarter of an hour: a token that has died. A fresh program would start with none.
var token = "expired"

func newToken() (string, error) {
	form := url.Values{
		"grant_type": {"client_credentials"},
		"scope":      {"orders:read"},
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

// call decodes the answer into body.
func call(method, path string, body any) error {
	response, err := send(method, path)
	if err != nil {
		return err
	}
	if response.StatusCode == http.StatusUnauthorized {
		response.Body.Close()
		fmt.Println("needs new token (401): trying once more with a fresh one")
		if token, err = newToken(); err != nil {
			return err
		}
		if response, err = send(method, path); err != nil {
			return err
		}
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		return json.NewDecoder(response.Body).Decode(body)
	case http.StatusForbidden:
		return notAllowed{response.Header.Get("WWW-Authenticate")}
	default:
		return fmt.Errorf("%s %s: %s", method, path, response.Status)
	}
}

func send(method, path string) (*http.Response, error) {
	request, err := http.NewRequest(method, os.Getenv("API_URL")+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	return client.Do(request)
}

func main() {
	var list struct {
		Orders []json.RawMessage `json:"orders"`
	}
	if err := call("GET", "/orders", &list); err != nil {
		log.Fatal(err)
	}
	fmt.Println("ok (200):", len(list.Orders), "orders")

	var refusal notAllowed
	if err := call("DELETE", "/orders/1", &struct{}{}); !errors.As(err, &refusal) {
		log.Fatal("expected a refusal, got: ", err)
	}
	fmt.Println("not allowed (403):", refusal.reason)
}
