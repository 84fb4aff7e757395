"""NUL reaches no database, by whichever way it is sent."""

import pytest
from django.test import Client

from tests.api.client import Api

#: A quoted cookie may say its characters in octal.
COOKIE = 'orderwire_session="\\000aaaaaaaaaaaa"'


@pytest.mark.parametrize("path", ["/", "/login", "/board", "/admin/"])
def test_a_session_with_a_nul_is_nobodys(client: Client, db: None, path: str):
    expected = client.get(path)
    answer = client.get(path, headers={"Cookie": COOKIE})
    assert (answer.status_code, answer.headers.get("Location")) == (
        expected.status_code,
        expected.headers.get("Location"),
    )


def test_a_session_with_a_nul_opens_no_api(as_nobody: Api, as_staff: Api):
    assert as_nobody.get("orders", Cookie=COOKIE).code == "not_authenticated"
    assert as_staff.get("orders", Cookie=COOKIE).status == 200


@pytest.mark.parametrize("path", ["/orders/%00", "/admin/knox/authtoken/%00/change/", "/api/v1/orders/%00"])
def test_an_address_with_a_nul_is_not_found(admin_client: Client, path: str):
    assert admin_client.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/board?q=%00", "/admin/orders/order/?status__exact=%00", "/?page=1&x=a%00b"])
def test_a_query_with_a_nul_is_refused(admin_client: Client, path: str):
    assert admin_client.get(path).status_code == 400


def test_a_percent_sign_before_two_noughts_is_no_nul(admin_client: Client):
    assert admin_client.get("/board?q=%2500").status_code == 200
