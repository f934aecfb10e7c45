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
