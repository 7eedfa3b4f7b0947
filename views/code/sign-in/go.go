// Signs a person in: authorization code with PKCE (RFC 7636). Go 1.19 or newer, standard library only.
// Environment: ISSUER_URL, CLIENT_ID, CLIENT_SECRET (empty where there is none), REDIRECT_URI, SCOPE.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

var (
	issuer       = os.Getenv("ISSUER_URL")
	clientID     = os.Getenv("CLIENT_ID")
	clientSecret = os.Getenv("CLIENT_SECRET")
	redirectURI  = os.Getenv("REDIRECT_URI")
	client       = &http.Client{Timeout: 10 * time.Second}
	// In a web application these two belong to the browser's session.
	state    = random()
	verifier = random()
)

func random() string {
	bytes := make([]byte, 32)
	if _, err := rand.Read(bytes); err != nil {
		log.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(bytes)
}

// redeem returns what the ID token says of the person.
func redeem(code string) ([]byte, error) {
	form := url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {code},
		"code_verifier": {verifier},
		"redirect_uri":  {redirectURI},
	}
	if clientSecret == "" {
		form.Set("client_id", clientID)
	}
	request, err := http.NewRequest("POST", issuer+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if clientSecret != "" {
		// RFC 6749 2.3.1: id and secret are form-encoded before they are joined.
		request.SetBasicAuth(url.QueryEscape(clientID), url.QueryEscape(clientSecret))
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var tokens struct {
		IDToken string `json:"id_token"`
		Error   string `json:"error"`
	}
	if err := json.NewDecoder(response.Body).Decode(&tokens); err != nil {
		return nil, err
	}
	parts := strings.Split(tokens.IDToken, ".")
	if response.StatusCode != http.StatusOK || len(parts) != 3 {
		return nil, fmt.Errorf("no token: %d %s", response.StatusCode, tokens.Error)
	}
	// It came straight from the issuer, so its signature need not be checked (OpenID Connect 3.1.3.7).
	return base64.RawURLEncoding.DecodeString(parts[1])
}

func main() {
	callback, err := url.Parse(redirectURI)
	if err != nil {
		log.Fatal(err)
	}
	challenge := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"response_type":         {"code"},
		"client_id":             {clientID},
		"redirect_uri":          {redirectURI},
		"scope":                 {os.Getenv("SCOPE")},
		"state":                 {state},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
	}
	done := make(chan []byte)
	http.HandleFunc(callback.Path, func(w http.ResponseWriter, r *http.Request) {
		// RFC 6749 10.12: an answer that we did not ask for is nobody's.
		if r.URL.Query().Get("state") != state {
			http.Error(w, "This answer is not ours.", http.StatusBadRequest)
			return
		}
		claims, err := redeem(r.URL.Query().Get("code"))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprint(w, "You are signed in. This page can be closed.")
		done <- claims
	})
	server := &http.Server{Addr: "127.0.0.1:" + callback.Port()}
	go func() {
		if err := server.ListenAndServe(); err != http.ErrServerClosed {
			log.Fatal(err)
		}
	}()
	fmt.Println("Open " + issuer + "/oauth/authorize?" + query.Encode())
	claims := <-done
	server.Shutdown(context.Background()) // after the page of the callback has left
	fmt.Println("Signed in:", string(claims))
}
