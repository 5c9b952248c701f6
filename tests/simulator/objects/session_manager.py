# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SessionManager: login, logout, the list of sessions. Facts: facts.md 5.1, 6.1."""

from __future__ import annotations

import hmac
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from pyVmomi import vim

from ..errors import SoapFault
from ..paths import Plan
from ..registry import Call, Managed, operation, prop
from ..session import Session, set_cookie
from ..versions import Api

BAD_LOGIN = "Cannot complete login due to an incorrect user name or password."


def user_session(session: Session) -> Any:
    return vim.UserSession(
        key=session.key,
        userName=session.user.name,
        fullName=session.user.name,
        loginTime=session.login_time,
        lastActiveTime=datetime.now(timezone.utc) - timedelta(seconds=session.idle),
        locale=session.locale,
        messageLocale=session.locale,
        extensionSession=False,
        ipAddress=session.address,
        userAgent=session.agent,
        callCount=session.calls,
    )


class SessionManager(Managed):
    TYPE = vim.SessionManager

    @prop
    def sessionList(self) -> Any:
        return vim.SessionManager._GetPropertyInfo("sessionList").type([user_session(item) for item in self.world.sessions.live()])

    @prop
    def currentSession(self) -> Any:
        return None  # see value()

    @prop
    def defaultLocale(self) -> str:
        return "en"

    @prop
    def messageLocaleList(self) -> Any:
        return vim.SessionManager._GetPropertyInfo("messageLocaleList").type(["en", "de"])

    @prop
    def supportedLocaleList(self) -> Any:
        return vim.SessionManager._GetPropertyInfo("supportedLocaleList").type(["en", "de"])

    @prop
    def message(self) -> str:
        return ""

    def value(self, call: Call, plan: Plan, api: Api) -> Any:
        """The one property whose value depends on who asks."""
        if plan.path.partition(".")[0] == "currentSession":
            mine = call.session
            plan = replace(plan, getter=lambda _self: user_session(mine) if mine is not None else None)
        return super().value(call, plan, api)

    @operation(privilege="System.Anonymous", anonymous=True)
    def Login(self, call: Call, userName: str, password: str, locale: str | None = None) -> Any:
        user = self.world.users.get(userName)
        if locale is not None and locale.split("_")[0] not in ("en", "de", "fr", "ja", "ko", "zh"):
            raise SoapFault("InvalidLocale", f"The locale {locale} is not valid.")
        # A failed login sets a cookie, too (VC 6.0 fixture); it is worth nothing.
        if user is None or not hmac.compare_digest(user.password.encode(), str(password).encode()):
            call.set_cookie = set_cookie("0" * 40)
            self.world.log_event(
                vim.event.BadUsernameSessionEvent, f"Cannot login {userName}@{call.peer}", user=userName, ipAddress=call.peer
            )
            raise SoapFault("InvalidLogin", BAD_LOGIN)
        session = Session(user, call.agent, call.peer, locale or "en")
        if not self.world.sessions.add(session):
            raise SoapFault("InvalidLogin", "The maximum number of sessions has been exceeded.")
        call.session = session
        call.set_cookie = set_cookie(session.cookie)
        self.world.log_event(
            vim.event.UserLoginSessionEvent,
            f"User {userName}@{call.peer} logged in as {call.agent}",
            user=userName,
            ipAddress=call.peer,
            userAgent=call.agent,
            locale=session.locale,
            sessionId=session.key,
        )
        return user_session(session)

    @operation(privilege="System.View")
    def Logout(self, call: Call) -> None:
        session = call.who
        self.world.sessions.end(session)
        self.world.log_event(
            vim.event.UserLogoutSessionEvent, f"User {session.user.name}@{session.address} logged out", user=session.user.name
        )
        self.world.touch()

    @operation(privilege="Sessions.ValidateSession")
    def SessionIsActive(self, call: Call, sessionID: str, userName: str) -> bool:
        found = self.world.sessions.by_key(sessionID)
        return found is not None and found.user.name == userName

    @operation(privilege="Sessions.TerminateSession", writes=True)
    def TerminateSession(self, call: Call, sessionId: Any) -> None:
        for key in sessionId:
            found = self.world.sessions.by_key(key)
            if found is None:
                raise SoapFault("NotFound", "The object or item referred to could not be found.")
            if found is call.session:
                raise SoapFault("InvalidArgument", "A specified parameter was not correct: sessionId", invalidProperty="sessionId")
            self.world.sessions.end(found)
        self.world.touch()
