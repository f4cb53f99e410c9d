"""Every network trained and scored alike: behind ``docs/compare_networks.py``."""
