// Calls an API with a client_credentials token. Java 17 or newer, standard library only.
// Environment: ISSUER_URL, CLIENT_ID, CLIENT_SECRET, API_URL, API_IDENTIFIER.
import static java.net.URLEncoder.encode;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.Base64;
import java.util.regex.Pattern;

public class Orders {
  /** 403: the API knows us and says no. Another token would be told the same. */
  static class NotAllowed extends Exception {
    NotAllowed(String reason) {
      super(reason);
    }
  }

  // Java has no JSON parser of its own. A token has no character that JSON escapes, so this is exact; use your parser.
  static final Pattern ACCESS_TOKEN = Pattern.compile("\"access_token\"\\s*:\\s*\"([^\"\\\\]+)\"");

  static final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build();

  // What a program holds after a quarter of an hour: a token that has died. A fresh program would start with none.
  static String token = "expired";

  static String newToken() throws IOException, InterruptedException {
    // RFC 6749 2.3.1: id and secret are form-encoded before they are joined.
    String pair = encode(System.getenv("CLIENT_ID"), UTF_8) + ":" + encode(System.getenv("CLIENT_SECRET"), UTF_8);
    String form = "grant_type=client_credentials&scope=" + encode("orders:read", UTF_8)
        + "&resource=" + encode(System.getenv("API_IDENTIFIER"), UTF_8);
    HttpResponse<String> response = http.send(
        HttpRequest.newBuilder(URI.create(System.getenv("ISSUER_URL") + "/oauth/token"))
            .timeout(Duration.ofSeconds(10))
            .header("Authorization", "Basic " + Base64.getEncoder().encodeToString(pair.getBytes(UTF_8)))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .POST(BodyPublishers.ofString(form))
            .build(),
        BodyHandlers.ofString());
    var found = ACCESS_TOKEN.matcher(response.body());
    if (response.statusCode() != 200 || !found.find()) throw new IOException("no token: " + response.statusCode());
    return found.group(1);
  }

  static String call(String method, String path) throws IOException, InterruptedException, NotAllowed {
    HttpResponse<String> response = send(method, path);
    if (response.statusCode() == 401) {
      System.out.println("needs new token (401): trying once more with a fresh one");
      token = newToken();
      response = send(method, path);
    }
    return switch (response.statusCode()) {
      case 200 -> response.body();
      case 403 -> throw new NotAllowed(response.headers().firstValue("WWW-Authenticate").orElse("no reason given"));
      default -> throw new IOException(method + " " + path + ": " + response.statusCode());
    };
  }

  static HttpResponse<String> send(String method, String path) throws IOException, InterruptedException {
    return http.send(
        HttpRequest.newBuilder(URI.create(System.getenv("API_URL") + path))
            .timeout(Duration.ofSeconds(10))
            .header("Authorization", "Bearer " + token)
            .method(method, BodyPublishers.noBody())
            .build(),
        BodyHandlers.ofString());
  }

  public static void main(String[] arguments) throws Exception {
    System.out.println("ok (200): " + call("GET", "/orders").trim());
    try {
      call("DELETE", "/orders/1");
      throw new IllegalStateException("expected a refusal");
    } catch (NotAllowed refusal) {
      System.out.println("not allowed (403): " + refusal.getMessage());
    }
  }
}
