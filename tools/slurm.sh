#!/usr/bin/env bash
# Brings the programs of Slurm, for root on Debian where no Slurm is configured; called by the Makefile and setup.sh.
#
# Elsewhere it says what to ask for. It stops nothing: a cluster that cannot come up says why, and tests are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/system.sh

main() {
    local packages
    packages=$(PYTHONPATH=slurm .venv/bin/python -m minicluster packages)
    if [[ -z $packages ]]; then
        return
    fi
    if may_install && [[ ! -e /etc/slurm/slurm.conf && ! -e /etc/slurm-llnl/slurm.conf ]]; then
        say "installing system packages: $packages"
        # shellcheck disable=SC2086
        without_services install_packages $packages >/dev/null 2>&1 && return
    fi
    say "no Slurm (packages $packages on Debian): tests of the cluster will be skipped"
}

# Runs a command under which packages start no service, nor leave one that would start with the machine: a minicluster
# has daemons of its own.
without_services() {
    local policy=/usr/sbin/policy-rc.d fresh=() ours="" result=0 name
    for name in munge slurmctld slurmd slurmdbd; do
        [[ -e /lib/systemd/system/$name.service ]] || fresh+=("$name")
    done
    if [[ ! -e $policy ]]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    "$@" || result=$?
    if [[ -n $ours ]]; then
        rm -f "$policy"
    fi
    if command -v systemctl >/dev/null; then
        for name in "${fresh[@]}"; do
            systemctl disable --no-reload "$name.service" || true
        done
    fi
    return "$result"
}

main
