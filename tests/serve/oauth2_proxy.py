"""What oauth2-proxy says to a proxy that asks it who comes, with `--set-xauthrequest`."""

from __future__ import annotations

from http.cookies import SimpleCookie

from tests.serve.background import BackgroundServer, QuietHandler

COOKIE = "_oauth2_proxy"


class OAuth2Proxy(BackgroundServer):
    """Knows users by their cookies, and answers as the real one does.

    Parameters
    ----------
    users : mapping of str to str
        Groups, with commas, of each address of mail.
    """

    def __init__(self, users: dict[str, str]) -> None:
        class Handler(QuietHandler):
            def do_GET(self) -> None:
                cookie = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
                known = cookie is not None and cookie.value in users
                if self.path.startswith("/oauth2/sign_in"):
                    return self._answer(200, {}, b"sign in at the provider")
                if self.path.partition("?")[0] != "/oauth2/auth":
                    return self._answer(404, {}, b"")
                if not known:
                    return self._answer(401, {}, b"Unauthorized\n")
                email = cookie.value
                named = {
                    "X-Auth-Request-User": f"subject-of-{email}",
                    "X-Auth-Request-Email": email,
                    "X-Auth-Request-Groups": users[email],
                    "X-Auth-Request-Preferred-Username": email.partition("@")[0],
                }
                return self._answer(202, named, b"Authenticated\n")

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        super().__init__(Handler)
