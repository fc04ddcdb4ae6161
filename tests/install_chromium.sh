#!/bin/sh
# Installs Debian's Chromium for the browser tests, where there is none and we may.
command -v chromium >/dev/null && exit 0
command -v chromium-browser >/dev/null && exit 0
command -v google-chrome >/dev/null && exit 0
if command -v apt-get >/dev/null; then
  sudo=""
  [ "$(id -u)" = 0 ] || sudo="sudo -n"
  $sudo apt-get update -qq && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null && exit 0
fi
echo "No Chromium found, and it could not be installed: the browser tests will fail." >&2
echo "Install it by hand (Debian: apt-get install chromium) and run the tests again." >&2
