#!/usr/bin/env bash
# Makes .venv/ with hpcretrain and all that it needs, under constraints.txt; called by the Makefile.
#
#   tools/setup.sh STAMP [EXTRA]
#
# STAMP is a file in .venv/ that is written when all is there, so a set-up that was interrupted is done again. EXTRA
# names optional dependencies to add. pip goes by your own configuration. Packages of the system that are missing are
# installed for root on Debian; otherwise this says what to ask for. EXTRA "test" brings Chromium, Prometheus and Slurm in
# the same way.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/system.sh

stamp=$1
extra=${2:-}

main() {
    # Without a stamp nobody knows how far .venv/ got, so it is made anew; with one, it is brought up to date.
    if [[ ! -e .venv/ready ]]; then
        make_environment
    fi
    rm -f "$stamp"
    if [[ -n $extra ]]; then
        say "installing what \"$extra\" needs"
    else
        say "installing hpcretrain and what it needs"
    fi
    # `user = true` in a pip configuration would make pip refuse any environment.
    logged env PIP_USER=0 .venv/bin/python -m pip install --no-input --disable-pip-version-check \
        --constraint constraints.txt --editable ".${extra:+[$extra]}"
    if [[ $extra == test ]]; then
        find_browser
        find_prometheus
        bash tools/slurm.sh
    fi
    touch "$stamp"
}

make_environment() {
    local python version
    python=$(find_python)
    version=$("$python" -c 'import sys; print("{}.{}".format(*sys.version_info))')
    find_system_packages "$python" "$version"
    say "making .venv/ with Python $version"
    rm -rf .venv
    "$python" -m venv .venv
}

# The first interpreter on PATH that has the right version and runs: a version manager's shims may stand there and fail.
find_python() {
    local wanted found
    wanted=${PYTHON:-python3.12 python3.11 python3}
    while read -r found; do
        if "$found" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            echo "$found"
            return
        fi
    done < <(type -aP $wanted)
    fail "no Python 3.11 or 3.12 found as any of: $wanted. Install one, or name it: make PYTHON=/path/to/python3.11 ..."
}

# What pip cannot bring: ensurepip, which Debian keeps apart from Python, and the OpenMP library that LightGBM links to.
find_system_packages() {
    local python=$1 venv_package=python$2-venv
    missing=()
    probe
    if ((${#missing[@]})) && may_install; then
        say "installing system packages: ${missing[*]}"
        logged install_packages "${missing[@]}"
        probe
    fi
    if ((${#missing[@]})); then
        fail "the system lacks ${missing[*]} (so called on Debian). As root: apt-get install ${missing[*]}"
    fi
}

probe() {
    missing=()
    "$python" -c 'import ensurepip' 2>/dev/null || missing+=("$venv_package")
    "$python" -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null || missing+=(libgomp1)
}

# What the tests of the page look at it with. Without it they are skipped, so its absence stops nothing.
find_browser() {
    local name
    if may_install && [[ ! -d /usr/share/fonts/truetype/liberation ]]; then
        # The widths of words are tested, and they are those of a font.
        say "installing system packages: fonts-liberation"
        install_packages fonts-liberation >/dev/null 2>&1 || say "fonts-liberation could not be installed"
    fi
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null; then
            return
        fi
    done
    if may_install; then
        say "installing system packages: chromium"
        install_packages chromium >/dev/null 2>&1 && return
    fi
    say "no Chromium on PATH (package chromium on Debian): tests of the page in a browser will be skipped"
}

# What the tests of signals ask. Without it they are skipped, so its absence stops nothing.
find_prometheus() {
    if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
        return
    fi
    if may_install; then
        say "installing system packages: prometheus"
        without_services prometheus install_packages prometheus >/dev/null 2>&1 && return
    fi
    say "no Prometheus on PATH (package prometheus on Debian): tests of signals from it will be skipped"
}

main
