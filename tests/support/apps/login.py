"""An application with Flask-Login, whose streams belong to sessions."""

from __future__ import annotations

import secrets

from flask import Flask, redirect, render_template_string, session
from flask_login import LoginManager, UserMixin, login_required, login_user, logout_user
from werkzeug.wrappers import Response

from flask_redis_events import RedisEvents

events = RedisEvents()


class User(UserMixin):  # type: ignore[misc]
    def __init__(self, id: str) -> None:
        self.id = id


def create_app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "a secret of the tests"
    app.config.from_prefixed_env("TEST")
    events.init_app(app)
    LoginManager(app).user_loader(User)

    @app.get("/")
    def index() -> str:
        return "here"

    @app.get("/login/<user>")
    def login(user: str) -> Response:
        login_user(User(user))
        session["of"] = secrets.token_hex(8)
        return redirect("/page")

    @app.post("/logout")
    def logout() -> dict[str, bool]:
        identity = session.pop("of", None)
        logout_user()
        if identity is not None:
            events.disconnect(identity=identity)
        return {"done": True}

    @app.get("/stream")
    @login_required
    @events.stream("news", identity=lambda: session["of"])
    def stream() -> None:
        """Stream the news to this session."""

    @app.get("/page")
    @login_required
    def page() -> str:
        """A page that listens by `EventSource`, by the module, and together with its other tabs."""
        return render_template_string(PAGE, of=session["of"])

    @app.post("/emit/<int:number>")
    def emit(number: int) -> dict[str, str | None]:
        return {"id": events.emit("news", number)}

    return app


PAGE = """<!doctype html><title>news</title>{{ events.importmap() }}
<button onclick="fetch('/logout', { method: 'POST' }).then(() => { document.title = 'out'; })">
Log out</button>
<script type="module">
import { subscribe } from "flask-redis-events";
window.got = { source: [], own: [], shared: [] };
window.source = new EventSource("/stream");
source.onmessage = (event) => got.source.push(JSON.parse(event.data));
window.own = subscribe("/stream", { message: (data) => got.own.push(data) });
window.shared = subscribe("/stream", { message: (data) => got.shared.push(data) },
  { identity: {{ of|tojson }} });
window.states = () => [source.readyState, own.state, shared.state];
</script>"""
