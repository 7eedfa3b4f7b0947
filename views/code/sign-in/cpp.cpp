// Signs a person in: authorization code with PKCE (RFC 7636). C++17, libcurl, OpenSSL, nlohmann/json.
// g++ -std=c++17 sign-in.cpp -o sign-in -lcurl -lcrypto
// Environment: ISSUER_URL, CLIENT_ID, CLIENT_SECRET (empty where there is none), REDIRECT_URI, SCOPE.
#include <curl/curl.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

std::string env(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string encode(const std::string& text) {
  std::unique_ptr<char, decltype(&curl_free)> escaped(
      curl_easy_escape(nullptr, text.c_str(), static_cast<int>(text.size())), curl_free);
  return escaped.get();
}

const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string base64url(const unsigned char* bytes, size_t size) {
  std::string text;
  unsigned bits = 0, held = 0;
  for (size_t i = 0; i < size; ++i) {
    held = held << 8 | bytes[i];
    for (bits += 8; bits >= 6; bits -= 6) text += alphabet[held >> (bits - 6) & 63];
  }
  if (bits > 0) text += alphabet[held << (6 - bits) & 63];
  return text;
}

std::string from_base64url(const std::string& text) {
  std::string bytes;
  unsigned bits = 0, held = 0;
  for (char letter : text) {
    held = held << 6 | static_cast<unsigned>(alphabet.find(letter));
    if ((bits += 6) >= 8) bytes += static_cast<char>(held >> (bits -= 8) & 255);
  }
  return bytes;
}

std::string random_text() {
  unsigned char bytes[32];
  if (RAND_bytes(bytes, sizeof bytes) != 1) throw std::runtime_error("no random bytes");
  return base64url(bytes, sizeof bytes);
}

std::string parameter(const std::string& address, const std::string& name) {
  for (const char* before : {"?", "&"}) {
    const size_t at = address.find(before + name + "=");
    if (at == std::string::npos) continue;
    const size_t begin = at + name.size() + 2;
    return address.substr(begin, address.find('&', begin) - begin);
  }
  return "";
}

size_t append(char* data, size_t size, size_t count, void* text) {
  static_cast<std::string*>(text)->append(data, size * count);
  return size * count;
}

// What the ID token says of the person.
std::string redeem(const std::string& code, const std::string& verifier) {
  const std::string id = env("CLIENT_ID"), secret = env("CLIENT_SECRET");
  std::string form = "grant_type=authorization_code&code=" + code + "&code_verifier=" + verifier +
                     "&redirect_uri=" + encode(env("REDIRECT_URI"));
  if (secret.empty()) form += "&client_id=" + encode(id);
  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
  std::string text;
  curl_easy_setopt(curl.get(), CURLOPT_URL, (env("ISSUER_URL") + "/oauth/token").c_str());
  curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, form.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, 10L);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, append);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &text);
  // RFC 6749 2.3.1: id and secret are form-encoded before they are joined.
  const std::string encoded_id = encode(id), encoded_secret = encode(secret);
  if (!secret.empty()) {
    curl_easy_setopt(curl.get(), CURLOPT_USERNAME, encoded_id.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_PASSWORD, encoded_secret.c_str());
  }
  if (CURLcode failed = curl_easy_perform(curl.get()); failed != CURLE_OK)
    throw std::runtime_error(curl_easy_strerror(failed));
  const nlohmann::json tokens = nlohmann::json::parse(text);
  if (!tokens.contains("id_token")) throw std::runtime_error("no token: " + tokens.value("error", "no reason given"));
  const std::string id_token = tokens.at("id_token");
  const size_t begin = id_token.find('.') + 1;
  // It came straight from the issuer, so its signature need not be checked (OpenID Connect 3.1.3.7).
  return from_base64url(id_token.substr(begin, id_token.find('.', begin) - begin));
}

int main() {
  curl_global_init(CURL_GLOBAL_DEFAULT);
  const std::string state = random_text(), verifier = random_text();
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(verifier.data()), verifier.size(), digest);
  std::cout << "Open " << env("ISSUER_URL") << "/oauth/authorize?response_type=code&client_id=" << encode(env("CLIENT_ID"))
            << "&redirect_uri=" << encode(env("REDIRECT_URI")) << "&scope=" << encode(env("SCOPE")) << "&state=" << state
            << "&code_challenge=" << base64url(digest, sizeof digest) << "&code_challenge_method=S256" << std::endl;

  // A desktop program listens here for its callback, or is opened by its own scheme (RFC 8252 7).
  std::cout << "The address that the browser ends at:" << std::endl;
  std::string answer;
  std::getline(std::cin, answer);
  // RFC 6749 10.12: an answer that we did not ask for is nobody's.
  if (parameter(answer, "state") != state) throw std::runtime_error("this answer is not ours");
  std::cout << "Signed in: " << redeem(parameter(answer, "code"), verifier) << std::endl;
}
