#!/usr/bin/env bash
# Installs Redis and PostgreSQL by apt where they are missing, for the benchmarks beside them. Those start servers of their
# own, on loopback and with folders of their own; what the packages may start is left alone.
set -euo pipefail

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || command -v postgres >/dev/null || missing+=(postgresql)
[ ${#missing[@]} -gt 0 ] || exit 0

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
$sudo apt-get update -q
$sudo apt-get install -qy --no-install-recommends "${missing[@]}"
