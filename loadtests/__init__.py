"""Load as a platform team sees it: arrivals of a real trace, open loop, with a verdict. `docs/loadtests.md`."""
