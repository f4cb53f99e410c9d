"""Slides of any size, whose tissue is a mosaic of real tissue."""


def pytest_addoption(parser):
    parser.addoption("--sides", help="of the slides in pixels, e.g. 4096,8192,16384")
