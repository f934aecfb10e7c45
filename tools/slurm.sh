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
        without_services "munge slurmctld slurmd slurmdbd" install_packages $packages >/dev/null 2>&1 && return
    fi
    say "no Slurm (packages $packages on Debian): tests of the cluster will be skipped"
}

main
