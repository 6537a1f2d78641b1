#!/usr/bin/env bash
# Installs the real programs that some tests talk to. Without them, or without the right to install, those tests are
# skipped and say so. One line adds another: need <command> <Debian package>.
set -euo pipefail

missing=()
need() {
    command -v "$1" >/dev/null || missing+=("$2")
}

need curl curl
need openssl openssl
need redis-server redis-server
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)

if [ "${#missing[@]}" -eq 0 ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "not installed, tests that need them are skipped: ${missing[*]}"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
