// Takes a token for a service and calls an API with it. Java 17 or newer, standard library only: java Service.java
// Environment: ISSUER_URL, CLIENT_ID, CLIENT_SECRET, SCOPE, API_IDENTIFIER, API_URL.
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

class Service {
  // Java has no JSON parser of its own. A token has no character that JSON escapes, so this is exact; use your parser.
  static final Pattern ACCESS_TOKEN = Pattern.compile("\"access_token\"\\s*:\\s*\"([^\"\\\\]+)\"");

  static final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build();

  static String newToken() throws IOException, InterruptedException {
    // RFC 6749 2.3.1: id and secret are form-encoded before they are joined.
    String pair = encode(System.getenv("CLIENT_ID"), UTF_8) + ":" + encode(System.getenv("CLIENT_SECRET"), UTF_8);
    String form = "grant_type=client_credentials&scope=" + encode(System.getenv("SCOPE"), UTF_8)
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

  public static void main(String[] arguments) throws Exception {
    // Keep the token until it is refused (401) or expires_in has passed; do not take one for each call.
    String token = newToken();
    HttpResponse<String> response = http.send(
        HttpRequest.newBuilder(URI.create(System.getenv("API_URL")))
            .timeout(Duration.ofSeconds(10))
            .header("Authorization", "Bearer " + token)
            .build(),
        BodyHandlers.ofString());
    System.out.println(response.statusCode() + " " + response.body());
  }
}
