"""Where calls to helpers may go, whatever it is called and however it is spelled."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from waifu_llm.errors import InvalidMessage
from waifu_llm.helpers.addresses import Reach, read_url, see_that_all_are_allowed
from waifu_llm.helpers.configured import NEARBY
from waifu_llm.helpers.faults import NotReached

OPEN = Reach()
URL = read_url("http://helper.example/")

INSIDE = [
    "169.254.169.254",
    "169.254.1.1",
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "168.63.129.16",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
OUTSIDE = ["8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001::1"]


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_not_the_open_internet_is_not_reached(address: str) -> None:
    with pytest.raises(NotReached):
        see_that_all_are_allowed([address], OPEN, URL)


@pytest.mark.parametrize("address", OUTSIDE)
def test_the_open_internet_is(address: str) -> None:
    see_that_all_are_allowed([address], OPEN, URL)


def test_one_address_that_is_inside_spoils_all() -> None:
    with pytest.raises(NotReached, match=r"127\.0\.0\.1"):
        see_that_all_are_allowed(["8.8.8.8", "127.0.0.1"], OPEN, URL)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_who_may_reach_this_machine_reaches_it(address: str) -> None:
    see_that_all_are_allowed([address], Reach(loopback=True), URL)


@pytest.mark.parametrize(
    "address", ["::ffff:127.0.0.1", "0.0.0.0", "::", "10.0.0.1", "2002:7f00:1::"]
)
def test_and_nothing_else_inside(address: str) -> None:
    with pytest.raises(NotReached):
        see_that_all_are_allowed([address], Reach(loopback=True), URL)


def test_a_network_that_is_allowed_is_reached_and_no_other() -> None:
    reach = Reach(networks=(ip_network("192.168.1.0/24"),))
    see_that_all_are_allowed(["192.168.1.9"], reach, URL)
    with pytest.raises(NotReached):
        see_that_all_are_allowed(["192.168.2.9"], reach, URL)


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "192.0.0.192"),
        *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42"),
        *("fd00:ec2::254%eth0", "::ffff:169.254.169.254"),
    ],
)
def test_what_a_cloud_tells_its_machines_is_never_reached(address: str) -> None:
    everything = Reach(True, (ip_network("0.0.0.0/0"), ip_network("::/0")))
    for reach in (everything, NEARBY):
        with pytest.raises(NotReached):
            see_that_all_are_allowed([address], reach, URL)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "192.168.1.9", "10.1.2.3", "8.8.8.8"])
def test_what_the_operator_names_may_be_at_home(address: str) -> None:
    see_that_all_are_allowed([address], NEARBY, URL)


TWO_READINGS = [
    "http://0/",
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://127.0.0.0x1/",
    "http://helper.0x7f/",
    "http://helper.1/",
    "http://1.2.3.256/",
    "http://1.2.3.4.5/",
    "http://127.0.0.1./",
    "http://localhost./",
    "http://a@b/",
    "http://a:p@b/",
    "http://good.example@127.0.0.1/",
    "http://good.example\\@127.0.0.1/",
    "http://127.0.0.1\\@good.example/",
    "http:\\\\good.example/",
    "http:/good.example/",
    "http:good.example",
    "//good.example/",
    "good.example/",
    "http://",
    "http:///task",
    "http://:80/",
    "http://good.example:/",
    "http://good.example:0/",
    "http://good.example:65536/",
    "http://good.example:80:81/",
    "http://good.example:+80/",
    "http://good.example#@127.0.0.1/",
    "http://good.example?@127.0.0.1/",
    "http://good.example/#x",
    "http://good.example /",
    " http://good.example/",
    "http://good.example/\r\nHost: evil",
    "http://good.example/\n",
    "http://good.example\t/",
    "http://good%2eexample/",
    "http://127。0。0。1/",
    "http://ⓔⓧample.com/",
    "http://１２７.0.0.1/",
    "http://[::1/",
    "http://[::1%25eth0]/",
    "http://[v1.a]/",
    "http://[127.0.0.1]/",
    "http://[]/",
    "http://::1/",
    "http://-a.example/",
    "http://a..example/",
    "ftp://good.example/",
    "file:///etc/passwd",
    "gopher://good.example/",
    "HTTP://good.example/",
    "http://good.example/" + "a" * 2100,
    "",
]


@pytest.mark.parametrize("text", TWO_READINGS)
def test_what_two_could_read_differently_nobody_reads(text: str) -> None:
    with pytest.raises(InvalidMessage):
        read_url(text)


@pytest.mark.parametrize(
    ("text", "host", "port", "target"),
    [
        ("http://helper.example", "helper.example", 80, "/"),
        ("https://Helper.Example/a/b?c=d@e", "helper.example", 443, "/a/b?c=d@e"),
        ("http://127.0.0.1:8004/task", "127.0.0.1", 8004, "/task"),
        ("http://[::1]:8004", "::1", 8004, "/"),
        ("http://[0:0:0:0:0:0:0:1]/", "::1", 80, "/"),
        ("http://image_helper:8004/", "image_helper", 8004, "/"),
    ],
)
def test_a_plain_url_is_read(text: str, host: str, port: int, target: str) -> None:
    url = read_url(text)
    assert (url.host, url.port, url.target) == (host, port, target)


def test_a_secret_in_a_path_is_not_shown() -> None:
    assert read_url("https://[2606::1]:8443/hook/secret").shown == "https://[2606::1]:8443"
