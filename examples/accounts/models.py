"""Users, and the sessions that they have."""

from __future__ import annotations

import re
import secrets

from flask_login import UserMixin
from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.security import check_password_hash, generate_password_hash

from .storage import Base, db

#: Somebody who tries names must not learn from the time of the answer which ones there are.
_NOBODY = generate_password_hash(secrets.token_hex())

NAME = re.compile(r"[\w.-]{2,24}")


def new_session() -> str:
    return secrets.token_hex(16)


class User(UserMixin, Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(24), unique=True)
    password_hash: Mapped[str]
    #: All cookies of the user hold it, so a new one signs all of them out; also a stolen one.
    session: Mapped[str] = mapped_column(unique=True, default=new_session)

    @classmethod
    def named(cls, name: str) -> User | None:
        name = name.strip().casefold()
        if not NAME.fullmatch(name):
            return None  # and a database may have no way to look it up
        return db.session.scalar(select(User).filter_by(name=name))

    @classmethod
    def of_session(cls, session: str) -> User | None:
        return db.session.scalar(select(User).filter_by(session=session))

    @classmethod
    def with_password(cls, name: str, password: str) -> User | None:
        """Return the user if the password is right."""
        user = cls.named(name)
        right = check_password_hash(user.password_hash if user else _NOBODY, password)
        return user if right else None

    def set_password(self, password: str) -> None:
        self.password_hash = generate_password_hash(password)

    def get_id(self) -> str:
        """Return what Flask-Login puts into the cookie."""
        return self.session
