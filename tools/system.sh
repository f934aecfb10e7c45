# What the set-up scripts share: messages, and packages of the system. To be sourced.

say() { echo "set-up: $*"; }

fail() {
    echo "set-up: $*" >&2
    exit 1
}

# Whether packages of the system can be installed here.
may_install() { [[ -e /etc/debian_version && $(id -u) == 0 ]]; }

# Only the second command counts: lists can be good enough although one of the sources is out of reach.
install_packages() {
    DEBIAN_FRONTEND=noninteractive bash -c \
        'apt-get update; apt-get install --yes --no-install-recommends "$@"' apt "$@"
}

# Runs a command whose output is of interest only when it fails.
logged() {
    local output
    if ! output=$("$@" 2>&1); then
        echo "$output" | tail -n 40 >&2
        fail "this failed: $*"
    fi
}

# Runs a command under which packages start no service of these names, nor leave one that would start with the machine:
# what needs one here starts its own.
without_services() {
    local names=$1 policy=/usr/sbin/policy-rc.d fresh=() ours="" result=0 name
    shift
    for name in $names; do
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
