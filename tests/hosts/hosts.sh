#!/usr/bin/env bash
# Several hosts on one machine, for tests: namespaces of network, host name, processes, IPC and mounts, with an sshd and a disk each.
#
#   hosts.sh up FOLDER PREFIX OWNER NAME...  start hosts; they end when process OWNER ends (0: when `down` is called)
#   hosts.sh enter FOLDER NAME COMMAND...    run a command on a host, in this folder and with this environment
#   hosts.sh link FOLDER NAME up|down        connect a host to the network, or cut it off
#   hosts.sh rate FOLDER NAME 1gbit|off      limit what a host sends (needs tc)
#   hosts.sh stop FOLDER NAME                end a host and all its processes, as a loss of power does
#   hosts.sh start FOLDER NAME               start it again
#   hosts.sh down FOLDER                     end all hosts and remove what `up` made
#
# Needs root with CAP_NET_ADMIN and CAP_SYS_ADMIN, ip, unshare, nsenter, ssh, and sshd: $RECSYS_SSHD, or one of PATH or /usr/sbin.
# Host K of the list has the address 10.77.0.K. FOLDER is seen by all hosts; FOLDER/disk is another folder on each of them.
# Namespaces are named PREFIX-NAME, so that two users with two prefixes do not meet; the network of the machine is not touched.
# Not imitated: clocks, kernels and memory of their own. The hosts share the cores of the machine.
set -euo pipefail
ACTION=${1:?} FOLDER=$(realpath -m "${2:?}")
shift 2
HERE=$(realpath "$0")
SSHD=${RECSYS_SSHD:-$(PATH=$PATH:/usr/sbin command -v sshd || true)}

write_settings() { # NAME...
    mkdir -p "$FOLDER"/{etc,disk,disks,state}
    ssh-keygen -q -t ed25519 -N '' -f "$FOLDER/etc/host_key"
    ssh-keygen -q -t ed25519 -N '' -f "$FOLDER/etc/user_key"
    cat >"$FOLDER/etc/ssh_config" <<END
Host *
  IdentityFile $FOLDER/etc/user_key
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
END
    cat >"$FOLDER/etc/sshd_config" <<END
HostKey $FOLDER/etc/host_key
AuthorizedKeysFile $FOLDER/etc/user_key.pub
PermitRootLogin yes
PasswordAuthentication no
StrictModes no
PidFile none
UseDNS no
MaxStartups 100
END
    { grep -v '^sshd:' /etc/passwd; echo 'sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin'; } >"$FOLDER/etc/passwd"
    local number=0
    echo '127.0.0.1 localhost' >"$FOLDER/etc/hosts"
    for name; do
        number=$((number + 1))
        echo "10.77.0.$number $name" >>"$FOLDER/etc/hosts"
    done
    printf '%s\n' "$@" >"$FOLDER/state/names"
}

connect() { # NAME
    local address
    address=$(awk -v name="$1" '$2 == name {print $1}' "$FOLDER/etc/hosts")
    ip netns add "$PREFIX-$1"
    ip -n "$PREFIX-$1" link set lo up
    ip -n "$PREFIX-switch" link add "to-$1" type veth peer name eth0 netns "$PREFIX-$1"
    ip -n "$PREFIX-switch" link set "to-$1" master bridge0 up
    ip -n "$PREFIX-$1" address add "$address/24" dev eth0
    ip -n "$PREFIX-$1" link set eth0 up
}

# The first process of a host. It runs in the namespaces of the host; when it ends, the kernel ends all others of the host.
first_process() { # NAME
    hostname "$1"
    mount --bind "$FOLDER/disks/$1" "$FOLDER/disk"
    for file in hosts passwd; do mount --bind "$FOLDER/etc/$file" "/etc/$file"; done
    mount --bind "$FOLDER/etc/ssh_config" /etc/ssh/ssh_config
    mount -t tmpfs tmpfs /dev/shm
    mount -t tmpfs tmpfs /run
    mkdir /run/sshd
    "$SSHD" -f "$FOLDER/etc/sshd_config"
    touch "$FOLDER/state/$1.up"
    exec sleep infinity
}

start() { # NAME
    mkdir -p "$FOLDER/disks/$1"
    rm -f "$FOLDER/state/$1.up"
    setsid ip netns exec "$PREFIX-$1" unshare --mount --uts --ipc --pid --fork --mount-proc --kill-child \
        --propagation private bash "$HERE" first "$FOLDER" "$1" >"$FOLDER/state/$1.log" 2>&1 </dev/null &
    echo $! >"$FOLDER/state/$1.outer"
    for _ in $(seq 100); do
        [ ! -e "$FOLDER/state/$1.up" ] || break
        sleep 0.05
    done
    [ -e "$FOLDER/state/$1.up" ] || { cat "$FOLDER/state/$1.log" >&2; return 1; }
    pgrep -P "$(cat "$FOLDER/state/$1.outer")" | head -1 >"$FOLDER/state/$1.first"
}

end_host() { # NAME
    [ ! -e "$FOLDER/state/$1.outer" ] || kill -9 "$(cat "$FOLDER/state/$1.outer")" 2>/dev/null || true
    rm -f "$FOLDER/state/$1.outer" "$FOLDER/state/$1.first"
}

case $ACTION in
up)
    PREFIX=$1 OWNER=$2
    shift 2
    [ -x "$SSHD" ] || { echo "no sshd: install openssh-server, or set RECSYS_SSHD" >&2; exit 2; }
    write_settings "$@"
    echo "$PREFIX" >"$FOLDER/state/prefix"
    ip netns add "$PREFIX-switch"
    ip -n "$PREFIX-switch" link add bridge0 type bridge
    ip -n "$PREFIX-switch" link set bridge0 up
    for name; do connect "$name"; start "$name"; done
    if [ "$OWNER" != 0 ]; then
        setsid bash -c "while kill -0 $OWNER 2>/dev/null && [ -e '$FOLDER/state/prefix' ]; do sleep 1; done; '$HERE' down '$FOLDER'" \
            >/dev/null 2>&1 </dev/null &
    fi
    ;;
first) first_process "$@" ;;
enter)
    first=$(cat "$FOLDER/state/$1.first")
    shift
    exec nsenter -t "$first" -m -u -i -n -p --wd="$PWD" "$@"
    ;;
link) ip -n "$(cat "$FOLDER/state/prefix")-switch" link set "to-$1" "$2" ;;
rate)
    namespace="$(cat "$FOLDER/state/prefix")-$1"
    if [ "$2" = off ]; then
        tc -n "$namespace" qdisc delete dev eth0 root
    else
        tc -n "$namespace" qdisc replace dev eth0 root tbf rate "$2" burst 256kb latency 50ms
    fi
    ;;
stop) end_host "$1" ;;
start) PREFIX=$(cat "$FOLDER/state/prefix"); start "$1" ;;
down)
    [ -e "$FOLDER/state/prefix" ] || exit 0
    PREFIX=$(cat "$FOLDER/state/prefix")
    while read -r name; do end_host "$name"; done <"$FOLDER/state/names"
    for name in $(cat "$FOLDER/state/names") switch; do ip netns delete "$PREFIX-$name" 2>/dev/null || true; done
    rm -f "$FOLDER/state/prefix"
    ;;
*) sed -n '2,16s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
