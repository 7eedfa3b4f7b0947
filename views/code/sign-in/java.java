// Signs a person in: authorization code with PKCE (RFC 7636). Java 17 or newer, standard library only: java SignIn.java
// Environment: ISSUER_URL, CLIENT_ID, CLIENT_SECRET (empty where there is none), REDIRECT_URI, SCOPE.
import static java.net.URLEncoder.encode;
import static java.nio.charset.StandardCharsets.UTF_8;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URLDecoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

class SignIn {
  static final String ISSUER = System.getenv("ISSUER_URL");
  static final String CLIENT_ID = System.getenv("CLIENT_ID");
  static final String CLIENT_SECRET = System.getenv().getOrDefault("CLIENT_SECRET", "");
  static final String REDIRECT_URI = System.getenv("REDIRECT_URI");
  // Java has no JSON parser of its own. A JWT has no character that JSON escapes, so this is exact; use your parser.
  static final Pattern ID_TOKEN = Pattern.compile("\"id_token\"\\s*:\\s*\"[^.\"]+\\.([^.\"]+)\\.[^.\"]+\"");

  // In a web application these two belong to the browser's session.
  static final String state = random();
  static final String verifier = random();

  static String random() {
    byte[] bytes = new byte[32];
    new SecureRandom().nextBytes(bytes);
    return base64url(bytes);
  }

  static String base64url(byte[] bytes) {
    return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
  }

  static String form(Map<String, String> fields) {
    return fields.entrySet().stream()
        .map(field -> field.getKey() + "=" + encode(field.getValue(), UTF_8))
        .collect(Collectors.joining("&"));
  }

  /** What the ID token says of the person. */
  static String redeem(String code) throws IOException, InterruptedException {
    var fields = new LinkedHashMap<>(Map.of("grant_type", "authorization_code", "code", code,
        "code_verifier", verifier, "redirect_uri", REDIRECT_URI));
    var request = HttpRequest.newBuilder(URI.create(ISSUER + "/oauth/token"))
        .timeout(Duration.ofSeconds(10))
        .header("Content-Type", "application/x-www-form-urlencoded");
    if (CLIENT_SECRET.isEmpty()) {
      fields.put("client_id", CLIENT_ID);
    } else {
      // RFC 6749 2.3.1: id and secret are form-encoded before they are joined.
      String pair = encode(CLIENT_ID, UTF_8) + ":" + encode(CLIENT_SECRET, UTF_8);
      request.header("Authorization", "Basic " + Base64.getEncoder().encodeToString(pair.getBytes(UTF_8)));
    }
    var response = HttpClient.newHttpClient()
        .send(request.POST(BodyPublishers.ofString(form(fields))).build(), BodyHandlers.ofString());
    var found = ID_TOKEN.matcher(response.body());
    if (response.statusCode() != 200 || !found.find()) throw new IOException("no token: " + response.statusCode());
    // It came straight from the issuer, so its signature need not be checked (OpenID Connect 3.1.3.7).
    return new String(Base64.getUrlDecoder().decode(found.group(1)), UTF_8);
  }

  static String parameter(String query, String name) {
    for (String pair : query.split("&"))
      if (pair.startsWith(name + "=")) return URLDecoder.decode(pair.substring(name.length() + 1), UTF_8);
    return "";
  }

  public static void main(String[] arguments) throws Exception {
    URI callback = URI.create(REDIRECT_URI);
    var query = new LinkedHashMap<String, String>();
    query.put("response_type", "code");
    query.put("client_id", CLIENT_ID);
    query.put("redirect_uri", REDIRECT_URI);
    query.put("scope", System.getenv().getOrDefault("SCOPE", "openid"));
    query.put("state", state);
    query.put("code_challenge", base64url(MessageDigest.getInstance("SHA-256").digest(verifier.getBytes(UTF_8))));
    query.put("code_challenge_method", "S256");

    var done = new CompletableFuture<String>();
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", callback.getPort()), 0);
    server.createContext(callback.getPath(), exchange -> {
      String answer = exchange.getRequestURI().getRawQuery();
      // RFC 6749 10.12: an answer that we did not ask for is nobody's.
      boolean ours = answer != null && parameter(answer, "state").equals(state);
      byte[] text = (ours ? "You are signed in. This page can be closed." : "This answer is not ours.").getBytes(UTF_8);
      try {
        String claims = ours ? redeem(parameter(answer, "code")) : null;
        exchange.sendResponseHeaders(ours ? 200 : 400, text.length);
        exchange.getResponseBody().write(text);
        exchange.close();
        if (ours) done.complete(claims);
      } catch (InterruptedException | IOException error) {
        done.completeExceptionally(error);
      }
    });
    server.start();
    System.out.println("Open " + ISSUER + "/oauth/authorize?" + form(query));
    System.out.println("Signed in: " + done.get());
    server.stop(0);
  }
}
