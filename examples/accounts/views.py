"""The pages to sign up and in, and the end of all sessions."""

from __future__ import annotations

import re
from typing import Any

from blinker import Namespace
from flask import Blueprint, Flask, abort, current_app, flash, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_login import LoginManager, current_user, login_required, login_user, logout_user
from sqlalchemy.exc import IntegrityError

from .models import NAME, User, new_session
from .storage import create_tables, db

accounts = Blueprint("accounts", __name__, template_folder="templates")
login_manager = LoginManager()

#: Sent by the application with `user` and the `session` that has ended: time to end its streams.
signed_out = Namespace().signal("signed-out")

SHORTEST_PASSWORD = 8


def init_app(app: Flask) -> None:
    if not app.secret_key:
        # Who knows the key can be any user, so it has no default.  All workers need the same.
        raise RuntimeError(
            "Set FLASK_SECRET_KEY to the output of"
            " python -c 'import secrets; print(secrets.token_urlsafe())'."
        )
    # Forms of other sites come without the cookie.
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    db.init_app(app)
    login_manager.init_app(app)
    app.register_blueprint(accounts)
    with app.app_context():
        create_tables()


@login_manager.user_loader
def load_user(session: str) -> User | None:
    return User.of_session(session)


@login_manager.unauthorized_handler
def unauthorized() -> ResponseReturnValue:
    """Send a page to the form and back; a script gets 401."""
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) != "text/html":
        abort(401)
    target = request.full_path.rstrip("?") if request.method == "GET" else None
    return redirect(url_of("sign_in", next=target))


def url_of(view: str, **values: Any) -> str:
    return current_app.url_for(f"accounts.{view}", **values)


@accounts.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> ResponseReturnValue:
    if request.method == "GET":
        return render_template("accounts/enter.html", new=False)
    user = User.with_password(request.form["name"], request.form["password"])
    if user is None:
        flash("This name and password do not belong together.")
        return render_template("accounts/enter.html", new=False), 401
    return _enter(user)


@accounts.route("/sign-up", methods=["GET", "POST"])
def sign_up() -> ResponseReturnValue:
    if request.method == "GET":
        return render_template("accounts/enter.html", new=True)
    name, password = request.form["name"].strip().casefold(), request.form["password"]
    if problem := _problem(name, password):
        flash(problem)
        return render_template("accounts/enter.html", new=True), 400
    user = User(name=name)
    user.set_password(password)
    db.session.add(user)
    try:
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        flash("This name is taken.")
        return render_template("accounts/enter.html", new=True), 409
    return _enter(user)


@accounts.post("/sign-out")
@login_required
def sign_out() -> ResponseReturnValue:
    """End all sessions of the user, first in the database and then in the browsers."""
    user: User = current_user._get_current_object()
    session, user.session = user.session, new_session()
    db.session.commit()
    logout_user()
    signed_out.send(current_app._get_current_object(), user=user, session=session)  # type: ignore[attr-defined]
    return redirect(url_of("sign_in"))


def _problem(name: str, password: str) -> str | None:
    if not NAME.fullmatch(name):
        return "A name has 2 to 24 letters, digits, dots, hyphens or underscores."
    if len(password) < SHORTEST_PASSWORD:
        return f"A password has {SHORTEST_PASSWORD} characters at least."
    return None


def _enter(user: User) -> ResponseReturnValue:
    login_user(user)
    target = request.args.get("next", "")
    # Only a path of this application: `//evil.example` is the address of another one.
    return redirect(target if re.fullmatch(r"/(\w[^\r\n]*)?", target) else "/")
