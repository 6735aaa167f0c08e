#!/bin/sh
# Installs what is missing of the Debian packages that tools/debian-packages.txt lists for the given purposes.
#   tools/install-debian-packages.sh run [test]
set -eu
list=$(dirname "$0")/debian-packages.txt

wanted=
for purpose; do
  names=$(sed -n "s/^$purpose: *\([^ #]*\).*/\1/p" "$list")
  [ -n "$names" ] || { echo "$0: $list has no packages for \"$purpose\"" >&2; exit 2; }
  wanted="$wanted $names"
done

missing=
for name in $wanted; do
  [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || missing="$missing $name"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "These Debian packages are needed, and only root with apt-get can install them:$missing" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
# shellcheck disable=SC2086 # the names are words
apt-get install --quiet=2 --yes --no-install-recommends $missing
