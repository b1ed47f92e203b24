from contextlib import suppress

import pytest

from deployments.gateway.media.web_address import NotAnAddress, read_address

# What a signature is made over: not a letter of it may change.
TARGETS = [
    "/a.png?X-Amz-Credential=AK%2F20261129%2Feu%2Fs3%2Faws4_request&X-Amz-Signature=ab",
    "/a.png?sig=a%2Fb%2Bc%3D&se=2026-11-29T12%3A00%3A00Z",
    "/foo%27bar%28test%29'(a).png?Policy=x~y_&z=a+b&w=%20&e=&&x=%7E%2C",
    "/p/http%3A%2F%2Fcdn.example%2Fa.jpg",
    "/%E8%AB%8B.png?q=%e8%ab%8b",
    "/a//b/./c/../d;x=1/?a=b?c=d&[x]={y}|^",
    "/%zz%",
]


@pytest.mark.parametrize("target", TARGETS)
def test_path_and_query_stay_as_they_were_written(target: str):
    """In a URL, and in a redirect, absolute and not; aiohttp asks for just this."""
    first = read_address("https://host.example/first?x")
    for address in (
        read_address(f"https://host.example:8443{target}#fragment"),
        first.redirected(f"https://host.example:8443{target}"),
        first.redirected(f"//host.example:8443{target}"),
        first.redirected(target) if not target.startswith("//") else None,
    ):
        assert address is not None
        assert address.target == target
        assert address.url.raw_path_qs == target
        assert address.host == "host.example"


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://host.example", "http://host.example/"),
        ("HTTP://Host.Example:80?q", "http://host.example/?q"),
        ("http://host.example/請 b.png?ü", "http://host.example/%E8%AB%8B%20b.png?%C3%BC"),
        ("http://host.example/a\r\nHost: other", "http://host.example/a%0D%0AHost:%20other"),
        ("http://請.example/", "http://xn--s52a.example/"),
        ("http://[::1]:8000/a", "http://[::1]:8000/a"),
    ],
)
def test_what_may_not_stand_in_a_request_is_escaped(url: str, asked: str):
    """As browsers do; scheme and host are brought to their usual form."""
    assert str(read_address(url).url) == asked


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("b.png?x=%2F/../y", "/a/b.png?x=%2F/../y"),
        ("../b%2f.png", "/b%2f.png"),
        ("./", "/a/"),
        ("?y=a+b", "/a/first.png?y=a+b"),
        ("#part", "/a/first.png?x"),
        ("/b/../c?d", "/b/../c?d"),
        ("/b#part", "/b"),
        ("/\udce8.png", "/%E8.png"),  # a byte that is no UTF-8
    ],
)
def test_a_redirect_within_a_host_is_joined(location: str, target: str):
    """Only a path that is relative is put together anew."""
    assert read_address("http://host.example/a/first.png?x").redirected(location).target == target


@pytest.mark.parametrize(
    "url",
    ["", "a.png", "//host/a", "/etc/passwd", "ftp://x/a", "file:///etc/passwd", "http://", "http:///a", "http:/x/a",
     "http://x/" + "a" * 8_192, "http://u:p@x/", "http://u@x/", "http://x:99999/", "http://[zz]/", "http://a\\@b/", "http://xn--a/", "http://a:b:c/", "http:\\\\x\\a"],
)  # fmt: skip
def test_nothing_else_is_an_address(url: str):
    """Neither as it comes nor in a redirect, where the first three would be relative."""
    with pytest.raises(NotAnAddress):
        read_address(url)
    if ":" in url:
        with pytest.raises(NotAnAddress):
            read_address("http://host.example/").redirected(url)


@pytest.mark.parametrize(
    "location", ["x\ty:z@10.0.0.1/", "ht\ttp://10.0.0.1/", "\vhttp://10.0.0.1/", " x:y@10.0.0.1/", "\u00a0x:y@10.0.0.1"]
)
def test_no_redirect_changes_the_host_unchecked(location: str):
    """What Python's `urljoin` takes for an absolute URL, blanks within its scheme left out, is none."""
    with suppress(NotAnAddress):
        assert read_address("http://host.example/a/").redirected(location).url.host == "host.example"
