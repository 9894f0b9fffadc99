"""Accounts that the examples share: sign up, in and out, with Flask-Login and Flask-SQLAlchemy."""

from .models import User
from .storage import LARGEST_ID, Base, db, utcnow
from .views import init_app, signed_out

__all__ = ["LARGEST_ID", "Base", "User", "db", "init_app", "signed_out", "utcnow"]
