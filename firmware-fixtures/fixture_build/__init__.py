"""What the builds of all fixtures share: running the host's tools, locked Debian packages, the frame of a build."""
