"""Addresses: composition only."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

handler400 = "tasks_app.rest.edges.bad_request"
handler500 = "tasks_app.rest.edges.server_error"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("accounts/login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("accounts/logout/", LogoutView.as_view(), name="logout"),
    path("", include("tasks_app.rest.urls")),
    path("", include("realtime.urls")),
]
