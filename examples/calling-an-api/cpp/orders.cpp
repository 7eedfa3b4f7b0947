// Calls an API with a client_credentials token. C++17, libcurl 7.84 or newer, nlohmann/json.
// Environment: ISSUER_URL, CLIENT_ID, CLIENT_SECRET, API_URL, API_IDENTIFIER.
#include <curl/curl.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

struct Response {
  long status = 0;
  std::string challenge;
  nlohmann::json body;
};

// 403: the API knows us and says no. Another token would be told the same.
struct NotAllowed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What a program holds after a quarter of an hour: a token that has died. A fresh program would start with none.
std::string token = "expired";

std::string env(const char* name) {
  const char* value = std::getenv(name);
  if (!value) throw std::runtime_error(std::string(name) + " is not set");
  return value;
}

std::string encode(const std::string& text) {
  std::unique_ptr<char, decltype(&curl_free)> escaped(
      curl_easy_escape(nullptr, text.c_str(), static_cast<int>(text.size())), curl_free);
  return escaped.get();
}

size_t append(char* data, size_t size, size_t count, void* text) {
  static_cast<std::string*>(text)->append(data, size * count);
  return size * count;
}

Response send(const std::string& method, const std::string& url, const std::string& authorization,
              const std::string& form = "") {
  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(
      curl_slist_append(nullptr, ("Authorization: " + authorization).c_str()), curl_slist_free_all);
  std::string text;
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, 10L);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, append);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &text);
  if (!form.empty()) curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, form.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_CUSTOMREQUEST, method.c_str());
  if (CURLcode code = curl_easy_perform(curl.get()); code != CURLE_OK)
    throw std::runtime_error(curl_easy_strerror(code));

  Response response;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &response.status);
  curl_header* challenge = nullptr;
  if (curl_easy_header(curl.get(), "WWW-Authenticate", 0, CURLH_HEADER, -1, &challenge) == CURLHE_OK)
    response.challenge = challenge->value;
  response.body = nlohmann::json::parse(text);
  return response;
}

std::string base64(const std::string& bytes) {
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    unsigned group = 0;
    for (size_t j = 0; j < 3; ++j) group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0);
    for (size_t j = 0; j < 4; ++j) text += i + j > bytes.size() ? '=' : alphabet[group >> (18 - 6 * j) & 63];
  }
  return text;
}

std::string new_token() {
  // RFC 6749 2.3.1: id and secret are form-encoded before they are joined.
  const std::string pair = encode(env("CLIENT_ID")) + ":" + encode(env("CLIENT_SECRET"));
  const Response response =
      send("POST", env("ISSUER_URL") + "/oauth/token", "Basic " + base64(pair),
           "grant_type=client_credentials&scope=orders%3Aread&resource=" + encode(env("API_IDENTIFIER")));
  if (response.status != 200) throw std::runtime_error("no token: " + std::to_string(response.status));
  return response.body.at("access_token");
}

nlohmann::json call(const std::string& method, const std::string& path) {
  const std::string url = env("API_URL") + path;
  Response response = send(method, url, "Bearer " + token);
  if (response.status == 401) {
    std::cout << "needs new token (401): trying once more with a fresh one" << std::endl;
    token = new_token();
    response = send(method, url, "Bearer " + token);
  }
  if (response.status == 403) throw NotAllowed(response.challenge);
  if (response.status != 200) throw std::runtime_error(method + " " + path + ": " + std::to_string(response.status));
  return response.body;
}

int main() {
  curl_global_init(CURL_GLOBAL_DEFAULT);
  const nlohmann::json list = call("GET", "/orders");
  std::cout << "ok (200): " << list.at("orders").size() << " orders" << std::endl;
  try {
    call("DELETE", "/orders/1");
    throw std::logic_error("expected a refusal");
  } catch (const NotAllowed& refusal) {
    std::cout << "not allowed (403): " << refusal.what() << std::endl;
  }
}
